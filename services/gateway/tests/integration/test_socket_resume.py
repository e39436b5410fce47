"""Reconnecting clients receive all pushes, or `resumed` is false."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from coach_common.errors import Unavailable
from coach_common.events.catalog import SessionJudged
from coach_common.ids import new_id
from coach_common.testing.fakes import FakeTransport, TokenIssuer
from coach_common.testing.harness import wait_until


def _session_judged(user_id: UUID) -> SessionJudged:
    feedback = {"session_id": "s", "status": "ready"}
    return SessionJudged(session_id=new_id(), user_id=user_id, feedback=feedback)


class FlakyTransport(FakeTransport):
    """A transport that can be down and counts its health checks."""

    def __init__(self) -> None:
        super().__init__()
        self.is_down = False
        self.checks = {False: 0, True: 0}

    async def check(self) -> None:
        self.checks[self.is_down] += 1
        if self.is_down:
            raise Unavailable("The message broker is not connected.")


@pytest.fixture
def transport() -> FlakyTransport:
    return FlakyTransport()


async def test_reconnecting_client_receives_every_event_in_order(
    open_socket: Any, publish_event: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    published: list[str] = []
    is_over = asyncio.Event()

    async def events() -> None:
        for _ in range(80):
            published.append(await publish_event(_session_judged(user_id)))
            await asyncio.sleep(0.005)
        is_over.set()

    seen: list[str] = []
    answers: list[bool] = []
    async with open_socket(user_id) as peer:
        published.append(await publish_event(_session_judged(user_id)))
        seen.append((await peer.receive_json())["event_id"])
    task = asyncio.create_task(events())
    while not (is_over.is_set() and seen[-1] == published[-1]):
        async with open_socket() as peer:
            await peer.send_json(type="auth", token=issuer.issue(user_id), last_event_id=seen[-1])
            answers.append((await peer.receive_json())["resumed"])
            fresh: list[str] = []
            while len(set(fresh) - set(seen)) < 5 and (fresh[-1:] or seen[-1:]) != published[80:]:
                fresh.append((await peer.receive_json())["event_id"])
        seen += [one for one in dict.fromkeys(fresh) if one not in seen]
    await task

    assert len(answers) > 5
    assert all(answers)
    assert seen == published


async def test_repeated_auth_on_an_open_socket_replays_pushes(
    open_socket: Any, publish_event: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    async with open_socket(user_id) as peer:
        first, second = (
            await publish_event(_session_judged(user_id)),
            await publish_event(_session_judged(user_id)),
        )
        assert [(await peer.receive_json())["event_id"] for _ in range(2)] == [first, second]
        await peer.send_json(type="auth", token=issuer.issue(user_id), last_event_id=second)

        assert (await peer.receive_json())["resumed"] is True
        assert [(await peer.receive_json())["event_id"] for _ in range(2)] == [first, second]


async def test_broker_outage_closes_sockets_and_prevents_resume(
    open_socket: Any,
    publish_event: Any,
    issuer: TokenIssuer,
    transport: FlakyTransport,
    user_id: UUID,
) -> None:
    async def was_there() -> bool:
        return transport.checks[False] >= checks_before + 3

    async def was_missed() -> bool:
        return transport.checks[True] > 0

    async with open_socket(user_id) as peer:
        last = await publish_event(_session_judged(user_id))
        await peer.receive_json()
        checks_before = transport.checks[False]
        await wait_until(was_there, description="the first checks", timeout_seconds=10)
        transport.is_down = True
        await wait_until(was_missed, description="a failed check", timeout_seconds=10)
        transport.is_down = False

        assert await peer.wait_closed() == 1012
    async with open_socket() as peer:
        await peer.send_json(type="auth", token=issuer.issue(user_id), last_event_id=last)
        assert (await peer.receive_json())["resumed"] is False
