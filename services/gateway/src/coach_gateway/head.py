"""The head of a request, read once: what the gateway obeys, and what an upstream may see of it."""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from coach_common import telemetry
from coach_common.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType

Headers = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te",
     b"trailer", b"transfer-encoding", b"upgrade", b"proxy-connection")
)  # fmt: skip
_NEVER_FORWARDED = HOP_BY_HOP | {
    b"host", b"forwarded", b"x-real-ip", b"x-http-method-override", b"x-request-id",
    b"traceparent", b"expect", b"content-length", b"x-method-override", b"x-http-method",
}  # fmt: skip
_NEVER_PREFIXES = (b"x-forwarded-", b"x-user-", b"x-internal-", b"x-original-", b"x-coach-",
                   b"x-gateway-", b"x-rewrite-", b"x-auth-")  # fmt: skip
_OBEYED = frozenset(
    (b"host", b"authorization", b"content-length", b"transfer-encoding", b"content-encoding",
     b"content-type", b"connection", b"origin", b"x-request-id", b"traceparent",
     b"x-forwarded-for")
)  # fmt: skip
_LISTS = frozenset((b"connection", b"x-forwarded-for", b"transfer-encoding"))
_AT_MOST_ONCE = frozenset((b"host", b"authorization", b"content-type", b"content-length"))
_LONGEST_NAME = 64
_NEVER_NAMED = frozenset((b"authorization", b"content-type"))
_ORDINARY_CONNECTION = (b"close", b"keep-alive", b"")


@dataclass
class Head:
    """What is forwarded as it came, and by name what the gateway itself acts on."""

    kept: Headers = field(default_factory=list)
    obeyed: dict[bytes, bytes] = field(default_factory=dict)
    repeated: bytes | None = None
    """A header that came twice and may only come once."""

    @classmethod
    def of(cls, headers: Headers) -> "Head":
        """Read the headers, their names in lower case; nothing is refused yet."""
        head = cls()
        kept, obeyed = head.kept, head.obeyed
        for pair in headers:
            name = pair[0]
            if name in _OBEYED:
                if name not in obeyed:
                    obeyed[name] = pair[1]
                elif name in _LISTS:
                    obeyed[name] += b"," + pair[1]
                elif name in _AT_MOST_ONCE:
                    head.repeated = name
            if len(name) <= _LONGEST_NAME and _is_forwarded(name):
                kept.append(pair)
        connection = obeyed.get(b"connection", b"")
        if connection not in _ORDINARY_CONNECTION:
            named = named_in(connection)
            head.kept = [pair for pair in kept if pair[0] not in named]
        return head

    @cached_property
    def lines(self) -> bytes:
        """What is forwarded, as it is sent."""
        return wire(self.kept)

    def get(self, name: bytes) -> bytes | None:
        """Return the value of a header that is obeyed."""
        return self.obeyed.get(name)

    def request_id(self) -> bytes:
        """Return theirs where it is fit to be logged, else a new one."""
        return telemetry.sanitize_request_id(self.obeyed.get(b"x-request-id", b"")).encode()

    def trace(self) -> str:
        """Return a child of their trace, or a new one."""
        given = self.obeyed.get(b"traceparent")
        return telemetry.continue_trace(None if given is None else given.decode("latin-1"))

    def body_length(self, limit: int) -> tuple[bool, int | None]:
        """Return whether there is a body, and its announced length in bytes.

        BadRequest for ambiguous framing (RFC 9112 §6.1, §6.3), UnsupportedType for encodings,
        TooLarge over `limit`.
        """
        obeyed = self.obeyed
        if self.repeated is not None:
            name = self.repeated.decode()
            raise BadRequest(f"The header {name} comes twice.", code="ambiguous_request")
        if obeyed.get(b"content-encoding", b"identity") != b"identity":
            raise UnsupportedMediaType(
                "Compressed requests are not taken.", code="content_encoding"
            )
        coding, announced = obeyed.get(b"transfer-encoding"), obeyed.get(b"content-length")
        if coding is not None and (announced is not None or coding.lower() != b"chunked"):
            raise BadRequest("The request's length is ambiguous.", code="ambiguous_framing")
        if announced is None:
            return coding is not None, None
        if not announced.isdigit():
            raise BadRequest("The request's length is no number.", code="ambiguous_framing")
        length = int(announced[:20])
        if length > limit:
            raise too_large(limit)
        return length > 0, length


def wire(headers: Headers) -> bytes:
    """Return headers as they are sent, each on its line."""
    lines: list[bytes] = []
    for name, value in headers:
        lines += (name, b": ", value, b"\r\n")
    return b"".join(lines)


def unwire(lines: bytes) -> Headers:
    """Return what `wire` was given."""
    pairs = [line.split(b": ", 1) for line in lines.splitlines()]
    return [(name, value) for name, value in pairs]


def named_in(connection: bytes) -> set[bytes]:
    """Return the headers that `Connection` names: they are for one hop alone (RFC 9110 §7.6.1)."""
    return {part.strip().lower() for part in connection.split(b",")} - _NEVER_NAMED


def too_large(limit: int) -> PayloadTooLarge:
    """Return the error for a body over the limit."""
    return PayloadTooLarge(f"A request may have up to {limit // 1024} KiB.")


@lru_cache(maxsize=4096)
def _is_forwarded(name: bytes) -> bool:
    return (
        name not in _NEVER_FORWARDED and b"_" not in name and not name.startswith(_NEVER_PREFIXES)
    )
