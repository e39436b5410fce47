"""Limits of a socket, and that other sockets are not affected."""

import asyncio
import itertools
import socket
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import pytest

from coach_common.events.catalog import SessionJudged
from coach_common.ids import new_id
from coach_common.testing.fakes import TokenIssuer
from coach_common.testing.harness import http_client, wait_until

TEXT, BINARY, CONT, PING = 1, 2, 0, 9
MIB = 1024 * 1024
_ESTABLISHED = 1


def _session_judged(user_id: UUID, text: str = "") -> SessionJudged:
    return SessionJudged(
        session_id=new_id(),
        user_id=user_id,
        feedback={"session_id": "s", "status": "ready", "detailed_feedback": text},
    )


async def _answers_ping(peer: Any) -> bool:
    await peer.send_json(type="ping")
    return bool(await peer.receive_json() == {"type": "pong"})


async def _close_count(gateway: Any, reason: str) -> float:
    async with http_client() as client:
        lines = (await client.get(f"{gateway.url}/metrics")).text.splitlines()
    start = f'coach_gateway_socket_closes_total{{reason="{reason}"}} '
    return next((float(line.removeprefix(start)) for line in lines if line.startswith(start)), 0.0)


async def test_unmasked_frame_closes_the_socket(open_socket: Any, user_id: UUID) -> None:
    async with open_socket(user_id) as peer, open_socket(user_id) as other:
        await peer.send(peer.encode_frame(b'{"type": "ping"}', is_masked=False))

        assert await peer.wait_closed() == 1002
        assert await _answers_ping(other)


async def test_invalid_utf8_closes_the_socket(open_socket: Any, user_id: UUID) -> None:
    async with open_socket(user_id) as peer:
        await peer.send(peer.encode_frame(b'{"type": "\xff\xfe"}'))

        assert await peer.wait_closed() == 1007


async def test_declared_oversized_frame_closes_the_socket_at_once(
    open_socket: Any, user_id: UUID
) -> None:
    async with open_socket(user_id) as peer:
        await peer.send(bytes((0x81, 0xFF)) + (17 * MIB).to_bytes(8, "big") + bytes(4))

        assert await peer.wait_closed() == 1009


async def test_fragments_over_the_size_limit_close_the_socket(
    open_socket: Any, user_id: UUID
) -> None:
    async with open_socket(user_id) as peer:
        piece = b"x" * 65_536
        pieces = [peer.encode_frame(piece, CONT, is_last=False) for _ in range(64)]
        await peer.send(peer.encode_frame(piece, is_last=False), *pieces)

        assert await peer.wait_closed() == 1009


async def test_fragmented_text_over_1_mib_returns_error(open_socket: Any, user_id: UUID) -> None:
    async with open_socket(user_id) as peer:
        piece = b"x" * 1400
        pieces = [peer.encode_frame(piece, CONT, is_last=False) for _ in range(800)]
        await peer.send(
            peer.encode_frame(piece, is_last=False), *pieces, peer.encode_frame(b"", CONT)
        )

        assert (await peer.receive_json())["code"] == "too_large"
        assert await _answers_ping(peer)


@pytest.mark.parametrize("size", [0, 1])
async def test_100000_tiny_fragments_close_the_socket(
    open_socket: Any, user_id: UUID, size: int
) -> None:
    async with open_socket(user_id) as peer, open_socket(user_id) as other:
        many = peer.encode_frame(b"x" * size, CONT, is_last=False) * 100_000
        await peer.send(peer.encode_frame(b"x", is_last=False), many)

        assert await peer.wait_closed() == 1008
        assert await _answers_ping(other)


@pytest.mark.parametrize("opcode", [TEXT, PING])
async def test_1000_frames_at_once_close_the_socket(
    gateway: Any, open_socket: Any, user_id: UUID, opcode: int
) -> None:
    before = await _close_count(gateway, "flood")
    async with open_socket(user_id) as peer, open_socket(user_id) as other:
        await peer.send(peer.encode_frame(b'{"type": "ping"}', opcode) * 1000)

        assert await peer.wait_closed() == 1008
        assert await _answers_ping(other)
    assert await _close_count(gateway, "flood") == before + 1


async def test_burst_below_the_limit_is_answered_completely(
    open_socket: Any, user_id: UUID
) -> None:
    async with open_socket(user_id) as peer:
        await peer.send(peer.encode_frame(b'{"type": "ping"}') * 90)

        assert [await peer.receive_json() for _ in range(90)] == [{"type": "pong"}] * 90


async def test_text_over_256_kib_per_second_closes_the_socket(
    open_socket: Any, user_id: UUID
) -> None:
    async with open_socket(user_id) as peer, open_socket(user_id) as other:
        await peer.send(peer.encode_frame(b'{"type": "ping", "x": [' + b"1," * 250_000) * 6)

        assert await peer.wait_closed() == 1008
        assert await _answers_ping(other)


async def test_frame_of_3_mib_returns_error_and_keeps_socket_open(
    open_socket: Any, user_id: UUID
) -> None:
    async with open_socket(user_id) as peer:
        await peer.send(peer.encode_frame(b"x" * (3 * MIB)))

        assert (await peer.receive_json())["code"] == "too_large"
        assert await _answers_ping(peer)


@pytest.mark.parametrize(
    ("samples", "sample_rate"), [(128, 16_000), (128, 48_000), (160, 16_000), (320, 16_000)]
)
async def test_backlog_of_5_seconds_of_audio_is_not_a_flood(
    open_socket: Any, user_id: UUID, samples: int, sample_rate: int
) -> None:
    count = 5 * sample_rate // samples
    async with open_socket(user_id) as peer:
        await peer.send_json(type="audio_start", format="pcm16", sample_rate=sample_rate)
        frames = peer.encode_frame(bytes(samples * 2), BINARY) * count

        await peer.send(frames)

        assert (await peer.receive_json())["code"] == "no_session"
        assert await _answers_ping(peer)


class TestAudioRate:
    """Audio over the rate is read later. The bound is low, so that the test is short."""

    @pytest.fixture
    def setting_overrides(self) -> dict[str, Any]:
        return {"socket_audio_bytes_per_second": 16 * MIB}

    async def test_audio_over_the_rate_is_slowed_down_and_not_closed(
        self, open_socket: Any, user_id: UUID
    ) -> None:
        loop = asyncio.get_running_loop()
        async with open_socket(user_id) as peer:
            await peer.send_json(type="audio_start", format="mp3")
            assert (await peer.receive_json())["code"] == "invalid"
            began = loop.time()
            sending = asyncio.create_task(peer.send(*[peer.encode_frame(bytes(MIB), BINARY)] * 12))

            assert await _answers_ping_after(peer, sending)
            assert 0.4 <= loop.time() - began < 5

    async def test_one_byte_frames_are_slowed_down_and_not_closed(
        self, open_socket: Any, user_id: UUID
    ) -> None:
        loop = asyncio.get_running_loop()
        async with open_socket(user_id) as peer:
            await peer.send_json(type="audio_start", format="mp3")
            assert (await peer.receive_json())["code"] == "invalid"
            began = loop.time()
            sending = asyncio.create_task(peer.send(peer.encode_frame(b"x", BINARY) * 12_000))

            assert await _answers_ping_after(peer, sending)
            assert 0.4 <= loop.time() - began < 8


async def _answers_ping_after(peer: Any, sending: asyncio.Task[None]) -> bool:
    await sending
    return await _answers_ping(peer)


class TestUnauthenticatedSockets:
    """Unauthenticated sockets. The timeout leaves time to open 101 of them."""

    @pytest.fixture
    def setting_overrides(self) -> dict[str, Any]:
        return {"socket_auth_timeout_seconds": 5.0}

    async def test_101st_unauthenticated_socket_of_an_address_is_rejected(
        self, open_socket: Any
    ) -> None:
        async with AsyncExitStack() as stack:
            waiting = [await stack.enter_async_context(open_socket()) for _ in range(101)]
            refused = await waiting[100].receive_json()
            elsewhere = await stack.enter_async_context(open_socket(new_id(), source="127.0.0.2"))

            assert (refused["type"], refused["code"]) == ("error", "too_many_sockets")
            assert await waiting[100].wait_closed() == 1008
            assert await _answers_ping(elsewhere)
            assert (await waiting[0].receive_json())["code"] == "auth_timeout"


class TestPings:
    """Pings from the server."""

    @pytest.fixture
    def setting_overrides(self) -> dict[str, Any]:
        return {"socket_ping_interval_seconds": 0.3}

    async def test_socket_without_pong_is_closed(
        self, gateway: Any, open_socket: Any, user_id: UUID
    ) -> None:
        before = await _close_count(gateway, "ping_timeout")
        async with open_socket(user_id) as silent, open_socket(user_id) as awake:
            silent.answers_pings = False
            answering = asyncio.create_task(awake.receive_json())

            assert await silent.wait_closed() == 1011
            assert not answering.done()
            await awake.send_json(type="ping")
            assert await answering == {"type": "pong"}
        assert await _close_count(gateway, "ping_timeout") == before + 1


async def test_client_that_stops_reading_is_disconnected_and_others_get_pushes(
    gateway: Any, open_socket: Any, publish_event: Any, user_id: UUID
) -> None:
    other_id = new_id()
    before = await _close_count(gateway, "not_reading")
    async with open_socket(user_id) as stalled, open_socket(other_id) as other:
        sock: socket.socket = stalled.writer.get_extra_info("socket")
        stalled.writer.transport.pause_reading()
        sent = [await publish_event(_session_judged(other_id))]
        for number in range(10_000):
            await publish_event(_session_judged(user_id, "x" * 2000))
            if number % 1000 == 0:
                sent.append(await publish_event(_session_judged(other_id)))
                await asyncio.sleep(0)
        got = [(await other.receive_json())["event_id"] for _ in sent]

        async def is_cut_off() -> bool:
            state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            return state != _ESTABLISHED

        assert got == sent
        assert await _close_count(gateway, "not_reading") == before + 1
        await wait_until(is_cut_off, description="the closed connection", timeout_seconds=10)


async def test_queued_commands_run_after_the_client_disconnects(
    gateway: Any, open_socket: Any, user_id: UUID
) -> None:
    async with open_socket(user_id) as peer:
        await peer.send_json(type="session_start", question="Why?")
        await peer.send_json(type="complete", duration_seconds=9)

    async def has_asked() -> bool:
        return len(gateway.upstreams.requests) == 2

    await wait_until(has_asked, description="both calls")
    assert gateway.upstreams.requests[1]["path"].endswith("/complete")


async def test_command_is_rejected_while_revocations_are_unavailable(
    gateway: Any, open_socket: Any, user_id: UUID
) -> None:
    async with open_socket(user_id) as peer:
        gateway.upstreams.is_auth_failing = True

        async def is_refused() -> bool:
            await peer.send_json(type="session_start", question="Why?")
            return bool((await peer.receive_json()).get("code") == "unavailable")

        await wait_until(is_refused, description="a rejection", timeout_seconds=10)
        assert await _answers_ping(peer)


class TestRateLimit:
    """Commands of a socket count as requests of its user."""

    @pytest.fixture
    def setting_overrides(self) -> dict[str, Any]:
        return {"requests_per_minute": 3}

    async def test_socket_commands_count_as_requests(
        self, gateway: Any, open_socket: Any, user_id: UUID
    ) -> None:
        async with open_socket(user_id) as peer:
            answers: list[dict[str, Any]] = []
            # The window may end during the loop; twice the limit always exceeds it.
            for _ in range(7):
                await peer.send_json(type="session_start", question="Why?")
                answers.append(await peer.receive_json())

            assert answers[0]["type"] == "session_started"
            assert "rate_limited" in {answer.get("code") for answer in answers}
            assert await _answers_ping(peer)

    async def test_http_requests_and_socket_commands_share_one_limit(
        self, gateway: Any, open_socket: Any, issuer: TokenIssuer, user_id: UUID
    ) -> None:
        async with (
            open_socket(user_id) as peer,
            http_client(base_url=gateway.url, headers=issuer.bearer(user_id)) as client,
        ):
            statuses = [(await client.get("/sessions")).status_code for _ in range(3)]
            await peer.send_json(type="session_start", question="Why?")
            answer = await peer.receive_json()

        assert statuses == [200] * 3
        assert answer["code"] == "rate_limited"


async def test_shutdown_closes_200_sockets_with_1012_after_their_pushes(
    gateway: Any, open_socket: Any, publish_event: Any
) -> None:
    from contextlib import AsyncExitStack

    users = [new_id() for _ in range(100)]
    async with AsyncExitStack() as stack:
        peers = [
            await stack.enter_async_context(open_socket(user_id))
            for user_id, _ in itertools.product(users, range(2))
        ]
        for user_id in users:
            await publish_event(_session_judged(user_id))
        stopping = asyncio.create_task(gateway.stacks["gateway"].aclose())
        pushed = [(await peer.receive_json())["type"] for peer in peers]

        assert pushed == ["feedback"] * 200
        assert {await peer.wait_closed() for peer in peers} == {1012}
        await stopping
