"""The socket, /ws/transcribe: it ends here, and what it asks for becomes calls in a user's name.

`handshake` lets a client in, `socket` is one open socket, `calls` is what it asks of services,
`frames` is what a frame may be, `wire` is the connection under it with every bound it has.
"""

from coach_gateway.sockets.door import Door as Door
from coach_gateway.sockets.handshake import serve as serve
