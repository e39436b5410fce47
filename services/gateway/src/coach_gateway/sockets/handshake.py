"""The WebSocket handshake: rejections before the upgrade, and acceptance."""

import json
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from coach_common import logs
from coach_common.errors import Unauthenticated
from coach_common.http import problems
from coach_gateway.access import parse_bearer
from coach_gateway.sockets.connection import SocketConnection
from coach_gateway.sockets.context import SocketContext
from coach_gateway.sockets.socket import Socket

log = logs.get_logger(__name__)


async def serve(
    context: SocketContext, scope: Scope, receive: Receive, send: Send, address: str
) -> None:
    """Handle one handshake and serve its socket until it closes."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    await receive()  # websocket.connect
    if any(name in ("token", "access_token") for name, _ in parse_qsl(_query_string(scope))):
        await _reject(scope, send, 400, "Do not send the token in the URL.")
        return
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1") not in context.settings.cors_origins:
        await _reject(scope, send, 403, "This origin is not allowed.")
        return
    subprotocols = scope.get("subprotocols", [])
    await send(
        {"type": "websocket.accept", "subprotocol": "bearer" if "bearer" in subprotocols else None}
    )
    connection = SocketConnection.from_scope(scope)
    try:
        await Socket(context, connection, address).run(
            receive, _token_from_handshake(headers, subprotocols)
        )
    except Exception:
        log.exception("socket.crashed")
        connection.close(1011, "crashed")


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


async def _reject(scope: Scope, send: Send, status: int, detail: str) -> None:
    """Send an HTTP error instead of the upgrade."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    body = json.dumps(problems.problem_body(status, detail, code="refused")).encode()
    headers = [
        (b"content-type", problems.MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
