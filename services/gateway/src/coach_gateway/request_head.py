"""Request headers: those the gateway interprets and those it forwards."""

from dataclasses import dataclass, field
from functools import lru_cache

from coach_common import telemetry
from coach_common.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType

Headers = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te",
     b"trailer", b"transfer-encoding", b"upgrade", b"proxy-connection")
)  # fmt: skip
_STRIPPED_HEADERS = HOP_BY_HOP | {
    b"host", b"forwarded", b"x-real-ip", b"x-http-method-override", b"x-request-id",
    b"traceparent", b"expect", b"content-length", b"x-method-override", b"x-http-method",
}  # fmt: skip
_STRIPPED_PREFIXES = (b"x-forwarded-", b"x-user-", b"x-internal-", b"x-original-", b"x-coach-",
                   b"x-gateway-", b"x-rewrite-", b"x-auth-")  # fmt: skip
_INTERPRETED_HEADERS = frozenset(
    (b"host", b"authorization", b"content-length", b"transfer-encoding", b"content-encoding",
     b"content-type", b"connection", b"origin", b"x-request-id", b"traceparent",
     b"x-forwarded-for")
)  # fmt: skip
_LIST_HEADERS = frozenset((b"connection", b"x-forwarded-for", b"transfer-encoding"))
_SINGLETON_HEADERS = frozenset((b"host", b"authorization", b"content-type", b"content-length"))
_MAX_NAME_BYTES = 64
_NEVER_HOP_BY_HOP = frozenset((b"authorization", b"content-type"))
_SIMPLE_CONNECTION_VALUES = (b"close", b"keep-alive", b"")


@dataclass
class RequestHead:
    """The headers of one request, split into forwarded and interpreted ones."""

    forwarded: Headers = field(default_factory=list)
    interpreted: dict[bytes, bytes] = field(default_factory=dict)
    duplicate: bytes | None = None
    """Name of a header that appears twice and may appear once."""

    @classmethod
    def from_headers(cls, headers: Headers) -> "RequestHead":
        """Split headers with lower-case names. Rejects nothing."""
        head = cls()
        forwarded, interpreted = head.forwarded, head.interpreted
        for pair in headers:
            name = pair[0]
            if name in _INTERPRETED_HEADERS:
                if name not in interpreted:
                    interpreted[name] = pair[1]
                elif name in _LIST_HEADERS:
                    interpreted[name] += b"," + pair[1]
                elif name in _SINGLETON_HEADERS:
                    head.duplicate = name
            if len(name) <= _MAX_NAME_BYTES and _is_forwarded(name):
                forwarded.append(pair)
        connection = interpreted.get(b"connection", b"")
        if connection not in _SIMPLE_CONNECTION_VALUES:
            hop_by_hop = connection_options(connection)
            head.forwarded = [pair for pair in forwarded if pair[0] not in hop_by_hop]
        return head

    def get(self, name: bytes) -> bytes | None:
        """Return the value of an interpreted header."""
        return self.interpreted.get(name)

    def request_id(self) -> bytes:
        """Return the client's request id if it is safe to log, else a new one."""
        return telemetry.sanitize_request_id(self.interpreted.get(b"x-request-id", b"")).encode()

    def traceparent(self) -> str | None:
        """Return the client's trace context as received."""
        incoming = self.interpreted.get(b"traceparent")
        return None if incoming is None else incoming.decode("latin-1")

    def ensure_unambiguous(self, http_version: str) -> None:
        """Raise BadRequest if a header appears twice that may appear once, or host is missing."""
        if self.duplicate is not None:
            name = self.duplicate.decode()
            raise BadRequest(f"The header {name} may appear only once.", code="ambiguous_request")
        if http_version == "1.1" and not self.interpreted.get(b"host"):
            raise BadRequest("The header host is missing.", code="ambiguous_request")

    def body_length(self, limit: int) -> tuple[bool, int | None]:
        """Return whether there is a body, and its Content-Length in bytes or None.

        Raises:
            BadRequest: If the framing is ambiguous (RFC 9112 §6.1, §6.3).
            UnsupportedMediaType: If the body is compressed.
            PayloadTooLarge: If Content-Length exceeds `limit`.
        """
        interpreted = self.interpreted
        if interpreted.get(b"content-encoding", b"identity") != b"identity":
            raise UnsupportedMediaType(
                "Compressed request bodies are not supported.", code="content_encoding"
            )
        coding, content_length = (
            interpreted.get(b"transfer-encoding"),
            interpreted.get(b"content-length"),
        )
        if coding is not None and (content_length is not None or coding.lower() != b"chunked"):
            raise BadRequest(
                "Content-Length and Transfer-Encoding conflict.", code="ambiguous_framing"
            )
        if content_length is None:
            return coding is not None, None
        if not content_length.isdigit():
            raise BadRequest("Content-Length is not a number.", code="ambiguous_framing")
        length = int(content_length[:20])
        if length > limit:
            raise payload_too_large(limit)
        return length > 0, length


def connection_options(connection: bytes) -> set[bytes]:
    """Return the headers that `Connection` names, which are hop-by-hop (RFC 9110 §7.6.1)."""
    return {part.strip().lower() for part in connection.split(b",")} - _NEVER_HOP_BY_HOP


def payload_too_large(limit: int) -> PayloadTooLarge:
    """Return the error for a body over the limit."""
    return PayloadTooLarge(f"A request may have up to {limit // 1024} KiB.")


@lru_cache(maxsize=4096)
def _is_forwarded(name: bytes) -> bool:
    return (
        name not in _STRIPPED_HEADERS
        and b"_" not in name
        and not name.startswith(_STRIPPED_PREFIXES)
    )
