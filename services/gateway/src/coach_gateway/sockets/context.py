"""Dependencies that all sockets share."""

from collections import Counter
from dataclasses import dataclass

from coach_common.clock import Clock
from coach_gateway.access import Authenticator
from coach_gateway.config import GatewaySettings
from coach_gateway.limits import RateLimits, Shares
from coach_gateway.live_audio import LiveAudioClient
from coach_gateway.push_hub import PushHub
from coach_gateway.upstream_client import UpstreamClient


@dataclass(frozen=True, slots=True)
class SocketContext:
    """The parts of the gateway that a socket uses."""

    settings: GatewaySettings
    authenticator: Authenticator
    upstream_client: UpstreamClient
    live_audio_client: LiveAudioClient
    push_hub: PushHub
    limits: RateLimits
    clock: Clock
    pending_by_address: Counter[str]
    """Unauthenticated sockets per client address."""
    ending_recordings: Shares
    """Live recordings that are being stored after their socket closed."""
