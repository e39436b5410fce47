"""The bounds and options of client connections. docs/bounds.md lists the bounds."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from coach_common.http.exchange import Headers, encode_headers

MAX_BUFFERED_BYTES = 64 * 1024
"""Request bytes that wait for the application before reading is paused."""
LINGER_SECONDS = 2.0
"""How long input is discarded after the last response, so that a reset does not destroy it."""
SHUTDOWN_GRACE_SECONDS = 0.25
"""How long an idle connection waits at shutdown for a request that is under way."""
MAX_DRAINED_BYTES = 4 * 1024 * 1024
"""Bytes of a request body that are discarded after its response."""
FRAMING_BYTES_PER_BODY_BYTE = 16
"""Bytes of chunk sizes and extensions per byte of a chunked body."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """The bounds of client connections."""

    max_url_bytes: int = 8 * 1024
    max_header_bytes: int = 32 * 1024
    """URL and headers together. Trailers have the same bound."""
    max_headers: int = 100
    max_connections: int = 10_000
    max_connections_per_address: int = 10_000
    header_timeout_seconds: float = 10.0
    body_chunk_timeout_seconds: float = 20.0
    body_timeout_seconds: float = 60.0
    keep_alive_seconds: float = 75.0
    write_stall_timeout_seconds: float = 30.0
    closes_early_responses: bool = False
    """Whether a response before the end of the request body closes the connection. For clients
    that then send no more of the body, such as boto3."""


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """What all connections of a server share."""

    service: str
    limits: HttpLimits = field(default_factory=HttpLimits)
    headers: Headers = ()
    """Added to every response."""
    accepts_websocket: Callable[[bytes], bool] = lambda _: True
    """Whether a path may be upgraded. Other upgrades are ignored (RFC 9110 §7.8)."""
    is_proxy: Callable[[str], bool] = lambda _: False
    """Whether an address is a trusted proxy, which the share per address does not bind."""
    connections: Counter[str] = field(default_factory=Counter)
    """Open connections per address."""
    _default_lines: list[tuple[Headers, bytes]] = field(default_factory=list)
    """The server's headers and the lines made from them."""

    def encode_default_headers(self, server_headers: Headers) -> bytes:
        """Return the header lines of every response.

        The server replaces its list of headers every second, so lines are kept for one list.
        """
        if not self._default_lines or self._default_lines[0][0] is not server_headers:
            lines = encode_headers([*server_headers, *self.headers])
            self._default_lines[:] = [(server_headers, lines)]
        return self._default_lines[0][1]

    def add_connection(self, address: str, *, host: str) -> bool:
        """Count a connection. Returns whether the address is within its share.

        A trusted proxy at `host` has no share, because it holds the connections of many clients.
        """
        self.connections[address] += 1
        is_within_share = self.connections[address] <= self.limits.max_connections_per_address
        return is_within_share or self.is_proxy(host)

    def remove_connection(self, address: str) -> None:
        """Count a connection that was closed."""
        self.connections[address] -= 1
        if self.connections[address] <= 0:
            del self.connections[address]
