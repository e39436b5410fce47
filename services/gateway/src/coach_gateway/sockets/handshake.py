"""The handshake of a socket: who is refused before any upgrade, and who is let in."""

import json
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from coach_common import logs
from coach_common.errors import Unauthenticated
from coach_common.http import problems
from coach_gateway.access import bearer_of
from coach_gateway.sockets.door import Door
from coach_gateway.sockets.socket import Socket
from coach_gateway.sockets.wire import Wire

log = logs.get_logger(__name__)


async def serve(door: Door, scope: Scope, receive: Receive, send: Send, address: str) -> None:
    """Answer one handshake and serve its socket until it ends."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    await receive()  # websocket.connect
    if any(name in ("token", "access_token") for name, _ in parse_qsl(_query(scope))):
        await _refuse(scope, send, 400, "A token does not belong into an address.")
        return
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1") not in door.settings.cors_origins:
        await _refuse(scope, send, 403, "This origin may not connect.")
        return
    offered = scope.get("subprotocols", [])
    await send(
        {"type": "websocket.accept", "subprotocol": "bearer" if "bearer" in offered else None}
    )
    wire = Wire.of(scope)
    try:
        await Socket(door, wire, address).run(receive, _presented(headers, offered))
    except Exception:
        log.exception("socket.crashed")
        wire.end(1011, "crashed")


def _presented(headers: dict[bytes, bytes], offered: list[str]) -> str | None:
    """Return a token that came with the handshake."""
    if b"authorization" in headers:
        try:
            return bearer_of(headers[b"authorization"])
        except Unauthenticated:
            return ""
    if len(offered) == 2 and offered[0] == "bearer":
        return offered[1]
    return None


def _query(scope: Scope) -> str:
    query: bytes = scope.get("query_string", b"")
    return query.decode("latin-1")


async def _refuse(scope: Scope, send: Send, status: int, detail: str) -> None:
    """Answer the handshake with an HTTP error, before any upgrade."""
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
