"""`coach events dead` on both brokers, while consumers run."""

import json
import time

import pytest
import transports
import typer
from test_transports import RecordingConsumer, _completed
from transports import TransportHarness

from coach_common import fault_injection
from coach_common.errors import Conflict, InvalidInput, NotFound, Unavailable
from coach_common.events.catalog import SessionCompleted
from coach_common.ids import new_id
from coach_common.messaging.dead_letters import Selection
from coach_common.messaging.events_cli import (
    drop_dead_letters,
    list_dead_letters,
    replay_dead_letters,
    show_dead_letter,
)
from coach_common.messaging.rabbitmq_dead_letters import RabbitMQDeadLetters
from coach_common.messaging.subscriptions import OutboxMessage, Subscription
from coach_common.testing.harness import wait_until
from coach_common.testing.servers import PrivateRabbitMQ

QUEUE = "ai.session.completed"


async def _publish_dead(
    bus: TransportHarness, consumer: RecordingConsumer, events: list[OutboxMessage]
) -> None:
    transport = await bus.start_transport(Subscription("ai", SessionCompleted, consumer))
    await transport.publish(events)
    await _until_dead(bus, len(events))


async def _until_empty(bus: TransportHarness) -> None:
    async def is_empty() -> bool:
        return await bus.queue_depths() == {}

    await wait_until(is_empty, description="empty queues")


async def _until_dead(bus: TransportHarness, count: int) -> None:
    async def are_dead() -> bool:
        return await bus.dead_letter_counts() == ({QUEUE: count} if count else {})

    await wait_until(are_dead, description=f"{count} dead letters")


async def test_dead_letters_are_listed_shown_replayed_and_dropped(bus: TransportHarness) -> None:
    consumer = RecordingConsumer(Conflict("The session was deleted."), Conflict("Again."))
    malformed = OutboxMessage(new_id(), "session.completed", b"not json")
    first, second = _completed(), _completed()
    await _publish_dead(bus, consumer, [first, second, malformed])

    async with bus.open_dead_letters() as letters:
        listed = json.loads(await list_dead_letters(letters, queue=QUEUE, as_json=True))
        shown = await show_dead_letter(letters, str(first.id))
        whole = await show_dead_letter(letters, str(first.id), body=True)
        replayed = await replay_dead_letters(letters, [str(first.id)])
        await consumer.until(3)
        await _until_dead(bus, 2)
        overview = await list_dead_letters(letters)
        dropped = await drop_dead_letters(letters, all_=True, yes=True)
        await _until_dead(bus, 0)
        nothing = await list_dead_letters(letters)
    await _until_empty(bus)

    assert {one["id"] for one in listed} == {str(first.id), str(second.id), None}
    assert {one["queue"] for one in listed} == {QUEUE}
    assert {one["type"] for one in listed} == {"session.completed", "unreadable"}
    assert all(one["reason"] and one["dead_at"] for one in listed)
    assert '"title": "<1 characters>"' in shown
    assert '"title": "T"' in whole
    assert replayed == "1 dead letter was returned to its queue."
    again = consumer.deliveries[2]
    assert (again.event_id, again.attempt) == (first.id, 1)
    assert overview.splitlines()[0].split() == ["2", QUEUE]
    assert str(second.id) in overview
    assert dropped == "2 dead letters were deleted."
    assert nothing == "There are no dead letters."


async def test_command_names_what_is_wrong(bus: TransportHarness) -> None:
    await bus.start_transport()
    async with bus.open_dead_letters() as letters:
        with pytest.raises(InvalidInput, match=r"There is no queue ai\.nothing"):
            await list_dead_letters(letters, queue="ai.nothing")
        with pytest.raises(InvalidInput, match="x is not the id of an event"):
            await show_dead_letter(letters, "x")
        with pytest.raises(InvalidInput, match="Name ids, --queue or --all"):
            await replay_dead_letters(letters)
        with pytest.raises(NotFound, match="There is no dead letter"):
            await show_dead_letter(letters, str(new_id()))


async def test_replay_that_is_killed_loses_no_message(
    bus: TransportHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = RecordingConsumer(Conflict("no"))
    event = _completed()
    await _publish_dead(bus, consumer, [event])

    class Killed(Exception):
        pass

    def crash(point: str) -> None:
        if point in ("dead_letters.published", "transaction.before_commit"):
            raise Killed

    monkeypatch.setattr(fault_injection, "crash_point", crash)
    async with bus.open_dead_letters() as letters:
        with pytest.raises(Killed):
            await letters.replay(Selection())
    monkeypatch.undo()

    async with bus.open_dead_letters() as letters:
        assert [one.id for one in await letters.find(Selection())] == [event.id]
        assert await letters.replay(Selection()) == 1
    await consumer.until(2)
    await _until_dead(bus, 0)


@pytest.mark.servers
async def test_operator_may_decide_for_longer_than_the_heartbeat_of_the_broker(
    rabbitmq: PrivateRabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def decide_slowly(question: str, *, abort: bool) -> None:
        asked.append(question)
        # The broker closes a connection without heartbeats after two to three intervals.
        time.sleep(5)

    monkeypatch.setattr(typer, "confirm", decide_slowly)
    with rabbitmq.vhost() as url:
        bus = transports.rabbitmq(rabbitmq, url)
        await _publish_dead(bus, RecordingConsumer(Conflict("no")), [_completed()])
        letters = RabbitMQDeadLetters(f"{url}?heartbeat=1")

        dropped = await drop_dead_letters(letters, all_=True)

        assert asked == ["Delete 1 dead letter for good?"]
        assert dropped == "1 dead letter was deleted."
        await _until_dead(bus, 0)
        for transport in list(bus.running):
            await bus.stop(transport)


async def test_unreachable_broker_is_named() -> None:
    with pytest.raises(Unavailable, match="The message broker cannot be reached"):
        await RabbitMQDeadLetters("amqp://127.0.0.1:9/").find(Selection())
