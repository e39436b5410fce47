"""The gateway's sockets: memory, the way of an event, and pushes a second. `make bench-ws`.

5,000 idle, authenticated sockets on one fresh gateway process, beside plain uvicorn in the same
run; an event from RabbitMQ to 1,000 sockets; frames pushed a second. Servers, broker and clients
are processes of their own and share the cores. Needs Debian's `rabbitmq-server`.
"""

import asyncio
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import uvloop

from coach_common.testing.servers import PrivateRabbitMQ, free_port

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
IDLE = int(os.environ.get("IDLE", "5000"))
LISTENING = int(os.environ.get("LISTENING", "1000"))
SETTLE_SECONDS = float(os.environ.get("SETTLE_SECONDS", "22"))
"""Longer than a ping's interval: every socket has been pinged once."""
SERVICE_TOKEN = "a token between services"


# --- servers: `python benchmarks/sockets.py part NAME PORT FOLDER …`


async def serve(name: str, port: int, folder: Path, *rest: str) -> None:
    from coach_common import logs, service
    from coach_common.config import Settings
    from coach_common.messaging.rabbit import RabbitTransport
    from coach_common.testing.fakes import KeepingTransport

    logs.configure(level="INFO", json=True)
    listener = service.listen("127.0.0.1", port)
    if name == "gateway":
        from coach_gateway.app import build
        from coach_gateway.config import GatewaySettings

        settings = GatewaySettings(service_token=SERVICE_TOKEN, auth_url=rest[0])
        transport = RabbitTransport(rest[1], prefetch=16) if len(rest) > 1 else KeepingTransport()
        built = build(settings, transport)
    else:
        app = {"sign-in": sign_in, "asgi": asgi, "relay": relay}[name](folder, *rest)
        built = service.Service(name, app, Settings(), KeepingTransport())
    async with service.running(built, listener):
        await service.stopped()


def sign_in(folder: Path) -> Any:
    """What the gateway asks of auth: the public keys, and which logins have ended."""
    answers = {
        "/.well-known/jwks.json": (folder / "jwks.json").read_bytes(),
        "/internal/revocations": b'{"cursor": "", "revoked": []}',
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answers.get(scope["path"], b"{}")})

    return app


def asgi(_: Path) -> Any:
    """The least a socket can be on this server: accepted, greeted, echoed; nobody is asked for."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": '{"type": "auth_success"}'})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    return app


def relay(_: Path, behind: str) -> Any:
    """A plain relay: for each socket one to a service behind, frames handed on both ways."""
    from websockets.asyncio.client import connect

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        async with connect(behind, proxy=None, compression=None) as upstream:
            await send({"type": "websocket.accept"})

            async def back() -> None:
                async for text in upstream:
                    await send({"type": "websocket.send", "text": text})

            task = asyncio.create_task(back())
            while (message := await receive())["type"] == "websocket.receive":
                await upstream.send(message["text"])
            task.cancel()

    return app


# --- clients: as lean as can be, so that the servers are measured


class Client(asyncio.Protocol):
    """A socket that answers pings and tells when a frame came."""

    def __init__(self, request: bytes, heard: Callable[[bytes, float], None]) -> None:
        self._request = request
        self._heard = heard
        self._buffer = b""
        self._is_open = False
        self.greeted: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.greeted.done():
            self.greeted.set_exception(error or ConnectionError(self._buffer[:200]))

    def data_received(self, data: bytes) -> None:
        at = time.monotonic()
        self._buffer += data
        if not self._is_open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head:
                self._transport.close()
                return
            self._is_open, self._buffer = True, rest
        while (frame := self._frame()) is not None:
            kind, payload = frame
            if kind == 9:
                self._transport.write(bytes((0x8A, 0x80 | len(payload))) + bytes(4) + payload)
            elif kind == 1 and not self.greeted.done():
                self.greeted.set_result(payload)
            elif kind == 1:
                self._heard(payload, at)

    def _frame(self) -> tuple[int, bytes] | None:
        if len(self._buffer) < 2:
            return None
        length, start = self._buffer[1], 2
        if length == 126:
            length, start = int.from_bytes(self._buffer[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(self._buffer[2:10], "big"), 10
        if len(self._buffer) < start + length:
            return None
        found = self._buffer[0] & 15, self._buffer[start : start + length]
        self._buffer = self._buffer[start + length :]
        return found


async def hold(port: int, folder: Path, count: str, seen: str = "") -> None:
    """Open `count` sockets, say "open", and hold them until stdin ends."""
    tokens = (folder / "tokens").read_text().split()
    taken = open(seen, "w", buffering=1 << 20) if seen else None  # noqa: SIM115, ASYNC230

    def heard(payload: bytes, at: float) -> None:
        if taken is not None and (event_id := re.search(rb'"event_id":"([^"]+)"', payload)):
            taken.write(f"{event_id[1].decode()} {at}\n")

    loop = asyncio.get_running_loop()
    limit = asyncio.Semaphore(64)

    async def one(number: int) -> Client:
        request = (
            f"GET /ws/transcribe HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Authorization: Bearer {tokens[number]}\r\n\r\n"
        ).encode()
        async with limit:
            _, client = await loop.create_connection(
                lambda: Client(request, heard), "127.0.0.1", port
            )
            await client.greeted
        return client

    clients = await asyncio.gather(*map(one, range(int(count))))
    assert all(b"auth_success" in client.greeted.result() for client in clients)
    print("open", flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    if taken is not None:
        taken.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["part"]:
        uvloop.run(serve(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), *sys.argv[5:]))
    elif sys.argv[1:2] == ["hold"]:
        uvloop.run(hold(int(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:]))
