"""The queue of the chat turns of each user."""

import asyncio

import pytest

from coach_ai.chat.turn_queue import TurnQueue
from coach_common.errors import TooManyRequests
from coach_common.ids import new_id


async def test_turns_of_one_user_run_one_after_another() -> None:
    queue, user_id = TurnQueue(max_turns=5), new_id()
    running = most_running = 0

    async def take_turn() -> None:
        nonlocal running, most_running
        async with queue.enter(user_id):
            running += 1
            most_running = max(most_running, running)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*(take_turn() for _ in range(5)))

    assert most_running == 1


async def test_users_do_not_wait_for_each_other() -> None:
    queue = TurnQueue(max_wait_seconds=0)

    async with queue.enter(new_id()), queue.enter(new_id()):
        pass


async def test_turn_beyond_the_maximum_is_refused_at_once() -> None:
    queue, user_id = TurnQueue(max_turns=1), new_id()

    async with queue.enter(user_id):
        with pytest.raises(TooManyRequests) as refused:
            async with queue.enter(user_id):
                pass

    assert refused.value.code == "turn_in_progress"
    async with queue.enter(user_id):
        pass


async def test_turn_that_waits_too_long_is_refused() -> None:
    queue, user_id = TurnQueue(max_wait_seconds=0.01), new_id()

    async with queue.enter(user_id):
        with pytest.raises(TooManyRequests):
            async with queue.enter(user_id):
                pass

    async with queue.enter(user_id):
        pass


async def test_cancelled_turns_leave_nothing_behind() -> None:
    queue, user_id = TurnQueue(), new_id()

    async def take_turn() -> None:
        async with queue.enter(user_id):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(take_turn()) for _ in range(3)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert queue._turns == {}
