"""What a client may do to its socket, byte by byte, and that nobody else suffers for it."""

import asyncio
import itertools
import socket
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import httpx
import pytest

from coach_common.events.catalog import SessionJudged
from coach_common.ids import new_id
from coach_common.testing.harness import wait_until

TEXT, CONT, PING = 1, 0, 9
MIB = 1024 * 1024
_ESTABLISHED = 1


def _judged(user_id: UUID, text: str = "") -> SessionJudged:
    return SessionJudged(
        session_id=new_id(),
        user_id=user_id,
        feedback={"session_id": "s", "status": "ready", "detailed_feedback": text},
    )


async def _is_well(peer: Any) -> bool:
    await peer.say(type="ping")
    return bool(await peer.next() == {"type": "pong"})


async def _closes(gateway: Any, reason: str) -> float:
    async with httpx.AsyncClient() as client:
        lines = (await client.get(f"{gateway.url}/metrics")).text.splitlines()
    start = f'coach_gateway_socket_closes_total{{reason="{reason}"}} '
    return next((float(line.removeprefix(start)) for line in lines if line.startswith(start)), 0.0)


async def test_a_frame_without_a_mask_closes_the_socket(dial: Any, user_id: UUID) -> None:
    async with dial(user_id) as peer, dial(user_id) as other:
        await peer.send(peer.framed(b'{"type": "ping"}', is_masked=False))

        assert await peer.closed() == 1002
        assert await _is_well(other)


async def test_text_that_is_not_utf8_closes_the_socket(dial: Any, user_id: UUID) -> None:
    async with dial(user_id) as peer:
        await peer.send(peer.framed(b'{"type": "\xff\xfe"}'))

        assert await peer.closed() == 1007


async def test_a_frame_that_says_it_is_too_long_closes_before_it_has_come(
    dial: Any, user_id: UUID
) -> None:
    async with dial(user_id) as peer:
        await peer.send(bytes((0x81, 0xFF)) + (17 * MIB).to_bytes(8, "big") + bytes(4))

        assert await peer.closed() == 1009


async def test_pieces_that_are_too_long_together_close_the_socket(dial: Any, user_id: UUID) -> None:
    async with dial(user_id) as peer:
        piece = b"x" * 65_536
        pieces = [peer.framed(piece, CONT, is_last=False) for _ in range(64)]
        await peer.send(peer.framed(piece, is_last=False), *pieces)

        assert await peer.closed() == 1009


async def test_a_text_above_a_mebibyte_in_pieces_is_refused_and_the_socket_stays(
    dial: Any, user_id: UUID
) -> None:
    async with dial(user_id) as peer:
        piece = b"x" * 1400
        pieces = [peer.framed(piece, CONT, is_last=False) for _ in range(800)]
        await peer.send(peer.framed(piece, is_last=False), *pieces, peer.framed(b"", CONT))

        assert (await peer.next())["code"] == "too_large"
        assert await _is_well(peer)


@pytest.mark.parametrize("size", [0, 1])
async def test_a_hundred_thousand_tiny_pieces_are_a_flood(
    dial: Any, user_id: UUID, size: int
) -> None:
    async with dial(user_id) as peer, dial(user_id) as other:
        many = peer.framed(b"x" * size, CONT, is_last=False) * 100_000
        await peer.send(peer.framed(b"x", is_last=False), many)

        assert await peer.closed() == 1008
        assert await _is_well(other)


@pytest.mark.parametrize("opcode", [TEXT, PING])
async def test_a_thousand_frames_at_once_are_a_flood(
    gateway: Any, dial: Any, user_id: UUID, opcode: int
) -> None:
    before = await _closes(gateway, "flood")
    async with dial(user_id) as peer, dial(user_id) as other:
        await peer.send(peer.framed(b'{"type": "ping"}', opcode) * 1000)

        assert await peer.closed() == 1008
        assert await _is_well(other)
    assert await _closes(gateway, "flood") == before + 1


async def test_a_burst_below_the_limit_is_answered_to_the_last(dial: Any, user_id: UUID) -> None:
    async with dial(user_id) as peer:
        await peer.send(peer.framed(b'{"type": "ping"}') * 90)

        assert [await peer.next() for _ in range(90)] == [{"type": "pong"}] * 90


class TestNotSignedIn:
    """Sockets that have not signed in yet; a hundred of them are opened before one is given up."""

    @pytest.fixture
    def changes(self) -> dict[str, Any]:
        return {"socket_auth_seconds": 5.0}

    async def test_the_101st_socket_that_has_not_signed_in_is_refused_to_its_address_alone(
        self, dial: Any
    ) -> None:
        async with AsyncExitStack() as stack:
            waiting = [await stack.enter_async_context(dial()) for _ in range(101)]
            refused = await waiting[100].next()
            elsewhere = await stack.enter_async_context(dial(new_id(), source="127.0.0.2"))

            assert (refused["type"], refused["code"]) == ("error", "too_many_sockets")
            assert await waiting[100].closed() == 1008
            assert await _is_well(elsewhere)
            assert (await waiting[0].next())["code"] == "auth_timeout"


class TestPings:
    """The server asks whether anybody is there."""

    @pytest.fixture
    def changes(self) -> dict[str, Any]:
        return {"socket_ping_seconds": 0.3}

    async def test_who_answers_pings_stays_and_who_does_not_is_closed(
        self, gateway: Any, dial: Any, user_id: UUID
    ) -> None:
        before = await _closes(gateway, "ping_timeout")
        async with dial(user_id) as silent, dial(user_id) as awake:
            silent.answers_pings = False
            answering = asyncio.create_task(awake.next())

            assert await silent.closed() == 1011
            assert not answering.done()
            await awake.say(type="ping")
            assert await answering == {"type": "pong"}
        assert await _closes(gateway, "ping_timeout") == before + 1


async def test_a_client_that_never_reads_is_cut_off_and_others_get_their_pushes(
    gateway: Any, dial: Any, happen: Any, user_id: UUID
) -> None:
    other_id = new_id()
    before = await _closes(gateway, "not_reading")
    async with dial(user_id) as deaf, dial(other_id) as other:
        sock: socket.socket = deaf.writer.get_extra_info("socket")
        deaf.writer.transport.pause_reading()
        sent = [await happen(_judged(other_id))]
        for number in range(10_000):
            await happen(_judged(user_id, "x" * 2000))
            if number % 1000 == 0:
                sent.append(await happen(_judged(other_id)))
                await asyncio.sleep(0)
        got = [(await other.next())["event_id"] for _ in sent]

        async def is_cut_off() -> bool:
            state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            return state != _ESTABLISHED

        assert got == sent
        assert await _closes(gateway, "not_reading") == before + 1
        await wait_until(is_cut_off, description="the end of the connection", timeout_seconds=10)


async def test_what_a_client_asked_for_is_done_though_it_left_at_once(
    gateway: Any, dial: Any, user_id: UUID
) -> None:
    async with dial(user_id) as peer:
        await peer.say(type="session_start", question="Why?")
        await peer.say(type="complete", duration_seconds=9)

    async def has_asked() -> bool:
        return len(gateway.upstreams.asked) == 2

    await wait_until(has_asked, description="both calls")
    assert gateway.upstreams.asked[1]["path"].endswith("/complete")


async def test_a_call_while_nobody_knows_which_logins_ended_is_refused(
    gateway: Any, dial: Any, user_id: UUID
) -> None:
    async with dial(user_id) as peer:
        gateway.upstreams.is_auth_broken = True

        async def is_refused() -> bool:
            await peer.say(type="session_start", question="Why?")
            return bool((await peer.next()).get("code") == "unavailable")

        await wait_until(is_refused, description="a refusal", timeout_seconds=10)
        assert await _is_well(peer)


class TestLimits:
    """What a socket asks for counts as its user's requests."""

    @pytest.fixture
    def changes(self) -> dict[str, Any]:
        return {"requests_a_minute": 3}

    async def test_calls_over_a_socket_count_as_requests(
        self, gateway: Any, dial: Any, user_id: UUID
    ) -> None:
        async with dial(user_id) as peer:
            answers: list[dict[str, Any]] = []
            # A window may turn over meanwhile: twice the allowance is always too much.
            for _ in range(7):
                await peer.say(type="session_start", question="Why?")
                answers.append(await peer.next())

            assert answers[0]["type"] == "session_started"
            assert "rate_limited" in {answer.get("code") for answer in answers}
            assert await _is_well(peer)


async def test_a_stop_sends_two_hundred_sockets_elsewhere_after_what_was_pushed(
    gateway: Any, dial: Any, happen: Any
) -> None:
    from contextlib import AsyncExitStack

    users = [new_id() for _ in range(100)]
    async with AsyncExitStack() as stack:
        peers = [
            await stack.enter_async_context(dial(user_id))
            for user_id, _ in itertools.product(users, range(2))
        ]
        for user_id in users:
            await happen(_judged(user_id))
        stopping = asyncio.create_task(gateway.parts["gateway"].aclose())
        pushed = [(await peer.next())["type"] for peer in peers]

        assert pushed == ["feedback"] * 200
        assert {await peer.closed() for peer in peers} == {1012}
        await stopping
