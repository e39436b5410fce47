"""Live audio of a socket that closes after `audio_end`: the recording is stored all the same."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
import uvloop
from websockets.asyncio.client import ClientConnection, connect

from coach_common.testing.fakes import TokenIssuer
from coach_common.testing.harness import wait_until
from coach_gateway.push_hub import OPEN_SOCKETS
from support.live_audio import StubAiService

KEY = "uploads/u/1.wav"
CONTENT = bytes(range(256)) * 400
UPLOAD = {"key": KEY, "upload_id": "u1", "size": len(CONTENT), "content_type": "audio/wav"}

# The hook that replaces the fixture applies to all tests and changes their names.
pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy. fixture")


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    """Writing to a lost connection raises RuntimeError with uvloop only."""
    return uvloop.EventLoopPolicy()


@pytest.fixture
def shutdown_seconds() -> float:
    return 60.0


@pytest.fixture
def setting_overrides(ai: StubAiService, shutdown_seconds: float) -> dict[str, Any]:
    return {"ai_url": f"http://127.0.0.1:{ai.port}", "shutdown_seconds": shutdown_seconds}


@pytest.fixture
def record(gateway: Any, issuer: TokenIssuer, user_id: UUID) -> Callable[[], Any]:
    """Open a socket and send a whole recording, with its end."""
    gateway.upstreams.error_response = (200, UPLOAD | {"status": "pending"})

    async def send() -> ClientConnection:
        session_id = "01936f5e-0000-7000-8000-000000000001"
        client = await connect(
            gateway.socket_url, additional_headers=issuer.bearer(user_id), proxy=None
        )
        start = {"type": "audio_start", "format": "pcm16", "sample_rate": 16_000}
        await client.send(json.dumps(start | {"session_id": session_id}))
        await client.send(CONTENT)
        await client.send(json.dumps({"type": "audio_end"}))
        return client

    return send


async def _close(client: ClientConnection) -> None:
    await client.close()


async def _reset(client: ClientConnection) -> None:
    """Break the connection without a close frame, after the gateway has read everything."""
    await client.send(json.dumps({"type": "ping"}))
    while json.loads(await client.recv())["type"] != "pong":
        pass
    raw = client.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.transport.abort()


@pytest.mark.parametrize("leave", [_close, _reset])
async def test_ended_recording_is_stored_and_confirmed_after_the_socket_closed(
    gateway: Any,
    ai: StubAiService,
    record: Callable[[], Awaitable[ClientConnection]],
    leave: Callable[[ClientConnection], Awaitable[None]],
) -> None:
    gateway.upstreams.gate = asyncio.Event()
    await leave(await record())
    await _wait_until_no_socket_is_open()
    gateway.upstreams.gate.set()

    await _wait_until_confirmed(gateway)
    assert ai.stored == {KEY: CONTENT}


async def test_ended_recording_is_stored_while_the_gateway_stops(
    gateway: Any, ai: StubAiService, record: Callable[[], Awaitable[ClientConnection]]
) -> None:
    ai.gate = asyncio.Event()
    client = await record()
    await _wait_until_received(ai)
    stopping = asyncio.create_task(gateway.stacks["gateway"].aclose())
    await client.wait_closed()
    ai.gate.set()
    await stopping

    assert ai.stored == {KEY: CONTENT}
    assert _count_confirmations(gateway) == 1


@pytest.mark.parametrize("shutdown_seconds", [1.0])
async def test_gateway_stops_in_time_if_an_ended_recording_is_not_stored(
    gateway: Any, ai: StubAiService, record: Callable[[], Awaitable[ClientConnection]]
) -> None:
    ai.gate = asyncio.Event()
    await _close(await record())
    await _wait_until_received(ai)
    async with asyncio.timeout(20):  # Without the stop, the recording would take 30 s.
        await gateway.stacks["gateway"].aclose()

    await ai.wait_for_connections(0)
    assert ai.stored == {}


async def test_third_ended_recording_of_a_user_is_stopped_when_its_socket_closes(
    gateway: Any, ai: StubAiService, record: Callable[[], Awaitable[ClientConnection]]
) -> None:
    ai.gate = asyncio.Event()
    clients = [await record() for _ in range(3)]
    await ai.wait_for_connections(3)
    for client in clients:
        await _close(client)
    await ai.wait_for_connections(2)
    ai.gate.set()
    await ai.wait_for_connections(0)
    await _wait_until_confirmed(gateway, count=2)


def _count_confirmations(gateway: Any) -> int:
    return [one["path"] for one in gateway.upstreams.requests].count("/upload/confirm")


async def _wait_until_confirmed(gateway: Any, count: int = 1) -> None:
    async def is_confirmed() -> bool:
        return _count_confirmations(gateway) == count

    await wait_until(is_confirmed, description="a confirmed recording")


async def _wait_until_no_socket_is_open() -> None:
    async def is_closed() -> bool:
        return OPEN_SOCKETS.collect()[0].samples[0].value == 0

    await wait_until(is_closed, description="no open socket")


async def _wait_until_received(ai: StubAiService) -> None:
    async def is_received() -> bool:
        return ai.received.get(KEY) == CONTENT

    await wait_until(is_received, description="the audio at ai")
