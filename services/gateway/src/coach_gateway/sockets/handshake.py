"""The WebSocket handshake: rejections before the upgrade, and acceptance."""

from collections.abc import Collection
from urllib.parse import parse_qsl, urlsplit

from starlette.types import Receive, Scope, Send

from coach_common import logs
from coach_common.client_address import group_address
from coach_common.errors import BadRequest, Forbidden, Unauthenticated
from coach_gateway.access import parse_bearer
from coach_gateway.sockets.connection import SocketConnection
from coach_gateway.sockets.context import SocketContext
from coach_gateway.sockets.socket import Socket

log = logs.get_logger(__name__)

_NATIVE_ORIGINS = frozenset({"file://", "capacitor://localhost", "ionic://localhost"})
"""Sent by apps whose pages come with the app. A web page cannot have them."""
_DEFAULT_PORTS = frozenset({None, 80, 443})


async def serve(
    context: SocketContext, scope: Scope, receive: Receive, send: Send, address: str
) -> None:
    """Handle one handshake and serve its socket until it closes.

    Raises:
        BadRequest: If the URL has a token. The handshake was not accepted.
        Forbidden: If the origin is not allowed. The handshake was not accepted.
    """
    headers: dict[bytes, bytes] = dict(scope["headers"])
    await receive()  # websocket.connect
    if any(name in ("token", "access_token") for name, _ in parse_qsl(_query_string(scope))):
        raise BadRequest("Do not send the token in the URL.", code="token_in_url")
    if not _is_allowed_client(headers, context.settings.cors_origins):
        raise Forbidden("This origin is not allowed.", code="origin_not_allowed")
    subprotocols = scope.get("subprotocols", [])
    await send(
        {"type": "websocket.accept", "subprotocol": "bearer" if "bearer" in subprotocols else None}
    )
    connection = SocketConnection.from_scope(scope)
    try:
        await Socket(context, connection, group_address(address)).run(
            receive, _token_from_handshake(headers, subprotocols)
        )
    except Exception:
        log.exception("socket.crashed")
        connection.close(1011, "crashed")


def _is_allowed_client(headers: dict[bytes, bytes], cors_origins: Collection[str]) -> bool:
    """Return whether the client is a native app or a page of an allowed origin.

    Native apps send no `Origin`, the origin of the app, or that of the server: React Native
    derives it from the URL. They may also send `Authorization`, which no page can.
    """
    if b"origin" not in headers or _has_bearer(headers):
        return True
    origin = headers[b"origin"].decode("latin-1")
    if "*" in cors_origins or origin in cors_origins or origin in _NATIVE_ORIGINS:
        return True
    return _is_same_host(origin, headers.get(b"host", b"").decode("latin-1"))


def _has_bearer(headers: dict[bytes, bytes]) -> bool:
    try:
        parse_bearer(headers.get(b"authorization"))
    except Unauthenticated:
        return False
    return True


def _is_same_host(origin: str, host: str) -> bool:
    """Return whether an origin of any scheme has the host and port of the `Host` header."""
    try:
        asked, own = urlsplit(f"//{host}"), urlsplit(origin)
        ports = {asked.port, own.port}
    except ValueError:
        return False
    is_same_port = len(ports) == 1 or ports <= _DEFAULT_PORTS
    return bool(own.scheme and own.hostname) and own.hostname == asked.hostname and is_same_port


def _token_from_handshake(headers: dict[bytes, bytes], subprotocols: list[str]) -> str | None:
    """Return the token of the handshake, or None."""
    if b"authorization" in headers:
        try:
            return parse_bearer(headers[b"authorization"])
        except Unauthenticated:
            return ""
    if len(subprotocols) == 2 and subprotocols[0] == "bearer":
        return subprotocols[1]
    return None


def _query_string(scope: Scope) -> str:
    query: bytes = scope.get("query_string", b"")
    return query.decode("latin-1")
