"""Live audio: relays a recording from a socket to ai while it is spoken.

`relay` is one recording of a socket, `buffers` bounds its memory, `client` opens connections to ai.
"""

from coach_gateway.live_audio.client import LiveAudioClient as LiveAudioClient
from coach_gateway.live_audio.relay import LiveAudioRelay as LiveAudioRelay
from coach_gateway.live_audio.relay import RelayState as RelayState
