"""A phone that loses the network misses no push, or is told that it may have."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from coach_common.errors import Unavailable
from coach_common.events.catalog import SessionJudged
from coach_common.ids import new_id
from coach_common.testing.fakes import FakeTransport, TokenIssuer
from coach_common.testing.harness import wait_until


def _judged(user_id: UUID) -> SessionJudged:
    feedback = {"session_id": "s", "status": "ready"}
    return SessionJudged(session_id=new_id(), user_id=user_id, feedback=feedback)


class Flaky(FakeTransport):
    """A broker that can be away, and knows how often it was looked for."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.looks = {False: 0, True: 0}

    async def check(self) -> None:
        self.looks[self.is_away] += 1
        if self.is_away:
            raise Unavailable("The message broker is not connected.")


@pytest.fixture
def transport() -> Flaky:
    return Flaky()


async def test_a_phone_that_comes_and_goes_while_events_happen_misses_none_and_sees_their_order(
    dial: Any, happen: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    happened: list[str] = []
    is_over = asyncio.Event()

    async def events() -> None:
        for _ in range(80):
            happened.append(await happen(_judged(user_id)))
            await asyncio.sleep(0.005)
        is_over.set()

    seen: list[str] = []
    answers: list[bool] = []
    async with dial(user_id) as peer:
        happened.append(await happen(_judged(user_id)))
        seen.append((await peer.next())["event_id"])
    task = asyncio.create_task(events())
    while not (is_over.is_set() and seen[-1] == happened[-1]):
        async with dial() as peer:
            await peer.say(type="auth", token=issuer.issue(user_id), last_event_id=seen[-1])
            answers.append((await peer.next())["resumed"])
            fresh: list[str] = []
            while len(set(fresh) - set(seen)) < 5 and (fresh[-1:] or seen[-1:]) != happened[80:]:
                fresh.append((await peer.next())["event_id"])
        seen += [one for one in dict.fromkeys(fresh) if one not in seen]
    await task

    assert len(answers) > 5
    assert all(answers)
    assert seen == happened


async def test_a_repeat_of_auth_on_an_open_socket_may_ask_for_what_was_missed(
    dial: Any, happen: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    async with dial(user_id) as peer:
        first, second = await happen(_judged(user_id)), await happen(_judged(user_id))
        assert [(await peer.next())["event_id"] for _ in range(2)] == [first, second]
        await peer.say(type="auth", token=issuer.issue(user_id), last_event_id=second)

        assert (await peer.next())["resumed"] is True
        assert [(await peer.next())["event_id"] for _ in range(2)] == [first, second]


async def test_after_the_broker_was_away_phones_are_sent_away_and_told_to_ask(
    dial: Any,
    happen: Any,
    issuer: TokenIssuer,
    transport: Flaky,
    user_id: UUID,
) -> None:
    async def was_there() -> bool:
        return transport.looks[False] >= looked + 3

    async def was_missed() -> bool:
        return transport.looks[True] > 0

    async with dial(user_id) as peer:
        last = await happen(_judged(user_id))
        await peer.next()
        looked = transport.looks[False]
        await wait_until(was_there, description="the hub's first looks", timeout_seconds=10)
        transport.is_away = True
        await wait_until(was_missed, description="a look in vain", timeout_seconds=10)
        transport.is_away = False

        assert await peer.closed() == 1012
    async with dial() as peer:
        await peer.say(type="auth", token=issuer.issue(user_id), last_event_id=last)
        assert (await peer.next())["resumed"] is False
