"""The live audio of ai in memory, for tests of the gateway."""

import asyncio
import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from coach_common.testing.harness import wait_until

SERVICE_TOKEN = "a token between services"


@dataclass
class StubAiService:
    """`/internal/live` of ai in memory. May disconnect or be stopped."""

    port: int
    received: dict[str, bytearray] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    start_requests: list[dict[str, Any]] = field(default_factory=list)
    disconnects_after: int | None = None
    stores_and_restarts: bool = False
    """Stores the audio after the first frame and closes with 1012, as at a shutdown."""
    loses_stored: bool = False
    """Disconnects instead of sending `stored`."""
    gate: asyncio.Event | None = None
    """The end of a recording waits for it, if it is set."""
    refuses_with: str | None = None
    """The code of the `error` that answers every start."""
    reports: list[dict[str, Any]] = field(default_factory=list)
    """Messages before the next `partial`."""
    open_connections: int = 0
    server: Server | None = None

    async def start(self) -> None:
        self.server = await serve(
            self._serve, "127.0.0.1", self.port, process_request=self._respond
        )

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            await self.server.wait_closed()

    async def wait_for_connections(self, count: int) -> None:
        async def has_connections() -> bool:
            return self.open_connections == count

        await wait_until(has_connections, description=f"{count} connections to ai")

    def _respond(self, socket: ServerConnection, request: Request) -> Response | None:
        """Answer health checks."""
        is_live = request.path == "/internal/live"
        return None if is_live else socket.respond(HTTPStatus.OK, "{}")

    async def _serve(self, socket: ServerConnection) -> None:
        self.open_connections += 1
        try:
            await self._serve_recording(socket)
        finally:
            self.open_connections -= 1

    async def _serve_recording(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        assert socket.request.path == "/internal/live"
        assert socket.request.headers["authorization"] == f"Bearer {SERVICE_TOKEN}"
        start = json.loads(await socket.recv())
        self.start_requests.append(start)
        if self.refuses_with is not None:
            error = {"type": "error", "message": "No.", "code": self.refuses_with}
            await socket.send(json.dumps(error))
            return
        if start["key"] in self.stored:
            error = {"type": "error", "message": "Stored.", "code": "already_stored"}
            await socket.send(json.dumps(error))
            return
        kept = self.received.setdefault(start["key"], bytearray())
        await socket.send(json.dumps({"type": "started", "received": len(kept)}))
        async for message in socket:
            if isinstance(message, str):
                if not await self._pass_gate(socket):
                    return
                self.stored[start["key"]] = bytes(kept)
                if self.loses_stored:
                    socket.transport.abort()
                    return
                await socket.send(json.dumps({"type": "stored", "size": len(kept)}))
                return
            kept += message
            if self.stores_and_restarts:
                self.stored[start["key"]] = bytes(kept)
                await socket.close(1012)
                return
            if self.disconnects_after is not None and len(kept) >= self.disconnects_after:
                self.disconnects_after = None
                socket.transport.abort()
                return
            while self.reports:
                await socket.send(json.dumps(self.reports.pop(0)))
            await socket.send(json.dumps({"type": "partial", "text": f"{len(kept)}"}))

    async def _pass_gate(self, socket: ServerConnection) -> bool:
        """Wait for the gate. Return False if the gateway disconnected before."""
        if self.gate is None:
            return True
        tasks = [asyncio.create_task(one) for one in (self.gate.wait(), socket.wait_closed())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        return self.gate.is_set()
