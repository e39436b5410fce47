"""Forwarding: headers are rebuilt, bodies stream both ways and are never held."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import aiohttp
from prometheus_client import Counter
from starlette.types import Receive, Send

from coach_common import logs
from coach_common.errors import BadRequest, TooLarge, Unavailable, UnsupportedType
from coach_gateway.config import GatewaySettings

log = logs.get(__name__)

UPSTREAM_ERRORS = Counter("coach_gateway_upstream_errors", "Failed calls.", ["upstream", "why"])

_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te",
     b"trailer", b"transfer-encoding", b"upgrade", b"proxy-connection")
)  # fmt: skip
_NEVER_FORWARDED = _HOP_BY_HOP | {
    b"host", b"forwarded", b"x-real-ip", b"x-http-method-override", b"x-request-id",
    b"traceparent", b"expect", b"content-length", b"x-method-override", b"x-http-method",
}  # fmt: skip
_NEVER_PREFIXES = (b"x-forwarded-", b"x-user-", b"x-internal-", b"x-original-", b"x-coach-",
                   b"x-gateway-", b"x-rewrite-", b"x-auth-")  # fmt: skip
_NEVER_ANSWERED = _HOP_BY_HOP | {b"server", b"date", b"x-request-id", b"cache-control",
                                 b"x-content-type-options"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What to ask an upstream for."""

    upstream: str
    method: str
    path: str
    query: bytes
    headers: list[tuple[str, str]]
    length: int | None


class Proxy:
    """One connection pool an upstream, so that a slow one never slows another's routes."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._urls = {
            "auth": settings.auth_url,
            "sessions": settings.sessions_url,
            "media": settings.media_url,
            "ai": settings.ai_url,
        }
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def ready(self) -> None:
        """Raise Unavailable naming the upstreams that do not answer."""
        names = list(self._urls)
        alive = await asyncio.gather(*(self._is_alive(name) for name in names))
        away = [name for name, is_alive in zip(names, alive, strict=True) if not is_alive]
        if away:
            raise Unavailable(f"away: {', '.join(away)}")

    async def forward(
        self,
        request: Forwarded,
        receive: Receive,
        send: Send,
        extra: list[tuple[bytes, bytes]],
    ) -> None:
        """Ask the upstream and stream its answer; Unavailable where it gives none."""
        url = f"{self._urls[request.upstream]}{request.path}"
        if request.query:
            url += "?" + request.query.decode("latin-1")
        body = await self._body(request, receive)
        try:
            async with self._session(request.upstream).request(
                request.method,
                url,
                headers=request.headers,
                data=body,
                allow_redirects=False,
            ) as answer:
                await _relay(answer, send, extra)
        except (TimeoutError, aiohttp.ClientError) as error:
            if isinstance(error.__cause__, TooLarge):
                raise error.__cause__ from None
            UPSTREAM_ERRORS.labels(request.upstream, type(error).__name__).inc()
            log.warning("upstream.failed", upstream=request.upstream, why=type(error).__name__)
            raise Unavailable("A part of the service is away. Please try again.") from error

    async def call(
        self,
        upstream: str,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> tuple[int, bytes]:
        """Make a small call of the gateway's own, in the person's name; return status and body."""
        url = f"{self._urls[upstream]}{path}"
        try:
            async with self._session(upstream).request(
                method, url, headers=headers, data=body, allow_redirects=False
            ) as answer:
                return answer.status, await answer.read()
        except (TimeoutError, aiohttp.ClientError) as error:
            UPSTREAM_ERRORS.labels(upstream, type(error).__name__).inc()
            raise Unavailable("A part of the service is away. Please try again.") from error

    async def close(self) -> None:
        """Close every connection."""
        for session in self._sessions.values():
            await session.close()

    def _session(self, upstream: str) -> aiohttp.ClientSession:
        session = self._sessions.get(upstream)
        if session is None:
            settings = self._settings
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=settings.upstream_connections, keepalive_timeout=4.0
                ),
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    connect=settings.upstream_connect_seconds,
                    sock_read=settings.upstream_read_seconds,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                trust_env=False,
            )
            self._sessions[upstream] = session
        return session

    async def _is_alive(self, upstream: str) -> bool:
        try:
            status, _ = await self.call(upstream, "GET", "/health/live", headers={})
        except Unavailable:
            return False
        return status == 200

    async def _body(
        self, request: Forwarded, receive: Receive
    ) -> bytes | AsyncIterator[bytes] | None:
        """Return the body: at once where the first message is all of it, else as a stream."""
        first = await receive()
        chunk: bytes = first.get("body", b"")
        limit = self._settings.max_body_bytes
        if len(chunk) > limit:
            raise _too_large(limit)
        if not first.get("more_body"):
            return chunk or None
        return _stream(chunk, receive, limit)


async def _stream(chunk: bytes, receive: Receive, limit: int) -> AsyncIterator[bytes]:
    total = len(chunk)
    yield chunk
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("The request ended early.")
        chunk = message.get("body", b"")
        total += len(chunk)
        if total > limit:
            raise _too_large(limit)
        if chunk:
            yield chunk
        if not message.get("more_body"):
            return


async def _relay(
    answer: aiohttp.ClientResponse, send: Send, extra: list[tuple[bytes, bytes]]
) -> None:
    named = _named_in_connection(answer.raw_headers)
    headers = [
        (name.lower(), value)
        for name, value in answer.raw_headers
        if name.lower() not in _NEVER_ANSWERED and name.lower() not in named
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers + extra})
    async for chunk in answer.content.iter_any():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def check_framing(headers: list[tuple[bytes, bytes]], limit: int) -> int | None:
    """Return the announced length; refuse ambiguous framing, encodings, and what is too large."""
    lengths = [value for name, value in headers if name == b"content-length"]
    is_chunked = any(name == b"transfer-encoding" for name, _ in headers)
    if len(set(lengths)) > 1 or (lengths and is_chunked):
        raise BadRequest("The request's length is ambiguous.", code="ambiguous_framing")
    if sum(name == b"host" for name, _ in headers) > 1:
        raise BadRequest("A request names one host.", code="ambiguous_host")
    if any(name == b"content-encoding" and value != b"identity" for name, value in headers):
        raise UnsupportedType("Compressed requests are not taken.", code="content_encoding")
    if not lengths:
        return None
    if not lengths[0].isdigit():
        raise BadRequest("The request's length is no number.", code="ambiguous_framing")
    length = int(lengths[0])
    if length > limit:
        raise _too_large(limit)
    return length


def forwarded_headers(headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Return what of the client's headers an upstream may see."""
    named = _named_in_connection(headers)
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if name not in _NEVER_FORWARDED
        and name not in named
        and b"_" not in name
        and not name.startswith(_NEVER_PREFIXES)
    ]


def _named_in_connection(
    headers: list[tuple[bytes, bytes]] | tuple[tuple[bytes, bytes], ...],
) -> set[bytes]:
    return {
        part.strip().lower()
        for name, value in headers
        if name.lower() == b"connection"
        for part in value.split(b",")
    } - {b"authorization", b"content-type"}


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"A request may have up to {limit // 1024} KiB.")
