"""A WebSocket client that controls every byte, and the live audio of ai."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from coach_common.db.transaction import MessageContext
from coach_common.events.base import Event
from coach_common.ids import new_id
from coach_common.testing.fakes import TokenIssuer
from coach_common.testing.servers import free_port
from support.live_audio import StubAiService

TEXT, PING, PONG, CLOSE = 1, 9, 10, 8


@dataclass
class RawSocketClient:
    """One connection. Answers pings unless `answers_pings` is false."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    answers_pings: bool = True

    @staticmethod
    def encode_frame(
        payload: bytes, opcode: int = TEXT, *, is_last: bool = True, is_masked: bool = True
    ) -> bytes:
        """Return an encoded frame (RFC 6455), unmasked if `is_masked` is false."""
        mask = os.urandom(4) if is_masked else b""
        first = (0x80 if is_last else 0) | opcode
        bit = 0x80 if is_masked else 0
        if len(payload) < 126:
            head = bytes((first, bit | len(payload)))
        elif len(payload) < 65_536:
            head = bytes((first, bit | 126)) + len(payload).to_bytes(2, "big")
        else:
            head = bytes((first, bit | 127)) + len(payload).to_bytes(8, "big")
        if is_masked and payload:
            key = (mask * (len(payload) // 4 + 1))[: len(payload)]
            masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
            payload = masked.to_bytes(len(payload), "big")
        return head + mask + payload

    async def send(self, *frames: bytes) -> None:
        """Send bytes. A closed connection is not an error."""
        try:
            for frame in frames:
                self.writer.write(frame)
                await self.writer.drain()
        except ConnectionError:
            pass

    async def send_json(self, **frame: Any) -> None:
        await self.send(self.encode_frame(json.dumps(frame).encode()))

    async def receive_frame(self) -> tuple[int, bytes]:
        """Return the next frame's opcode and payload."""
        async with asyncio.timeout(10):
            first, second = await self.reader.readexactly(2)
            length = second & 127
            if length > 125:
                length_bytes = 2 if length == 126 else 8
                length = int.from_bytes(await self.reader.readexactly(length_bytes), "big")
            return first & 15, await self.reader.readexactly(length)

    async def receive_json(self) -> dict[str, Any]:
        """Return the next text frame."""
        while True:
            opcode, payload = await self.receive_frame()
            if opcode == PING and self.answers_pings:
                await self.send(self.encode_frame(payload, PONG))
            elif opcode == TEXT:
                found: dict[str, Any] = json.loads(payload)
                return found
            elif opcode == CLOSE:
                raise ConnectionError(f"closed {int.from_bytes(payload[:2], 'big')}")

    async def wait_closed(self) -> int:
        """Read until the close frame and return its code."""
        while True:
            opcode, payload = await self.receive_frame()
            if opcode == CLOSE:
                await self.send(self.encode_frame(payload, CLOSE))
                return int.from_bytes(payload[:2], "big")


OpenSocket = Callable[..., AbstractAsyncContextManager[RawSocketClient]]


@pytest.fixture
async def ai() -> AsyncIterator[StubAiService]:
    ai = StubAiService(free_port())
    await ai.start()
    yield ai
    await ai.stop()


@pytest.fixture
def open_socket(gateway: Any, issuer: TokenIssuer) -> OpenSocket:
    """Open a socket, authenticated if `user_id` is given."""

    @asynccontextmanager
    async def open_connection(
        user_id: UUID | None = None, *, source: str = "127.0.0.1", port: int | None = None
    ) -> Any:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port or gateway.port, local_addr=(source, 0), limit=4096
        )
        lines = [
            "GET /v1/ws/transcribe HTTP/1.1", "Host: x", "Connection: Upgrade",
            "Upgrade: websocket", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ]  # fmt: skip
        if user_id is not None:
            lines.append(f"Authorization: Bearer {issuer.issue(user_id)}")
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 101 " in head
            peer = RawSocketClient(reader, writer)
            if user_id is not None:
                assert (await peer.receive_json())["type"] == "auth_success"
            yield peer
        finally:
            writer.transport.abort()

    return open_connection


@pytest.fixture
def publish_event(gateway: Any) -> Callable[[Event], Any]:
    """Deliver an event to the gateway as its broker would; return the event id."""

    async def publish(event: Event) -> str:
        event_id = new_id()
        for subscription in gateway.service.subscriptions:
            if subscription.event is type(event):
                await subscription.handle(event, MessageContext(subscription.queue, event_id))
        return str(event_id)

    return publish
