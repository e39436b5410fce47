"""What every transport means: at least once, in no order, retried with pauses, never lost."""

import asyncio
import time
from itertools import pairwise
from uuid import UUID

import pytest
from buses import DELAYS, Bus

from coach_common.db.transaction import Delivery
from coach_common.errors import Conflict, Unavailable
from coach_common.events.base import Envelope, Event
from coach_common.events.catalog import (
    SessionCompleted,
    SessionJudged,
    UploadConfirmed,
    UserDeleted,
    UserRegistered,
)
from coach_common.ids import new_id
from coach_common.messaging.subscriptions import UNROUTED, Outgoing, Subscription
from coach_common.testing.harness import eventually

USER = new_id()


def _out(event: Event, event_id: UUID | None = None) -> Outgoing:
    made = event_id or new_id()
    envelope = Envelope.wrap(
        event,
        id=made,
        source="/services/test",
        time="2026-11-24T12:00:00.000000Z",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    return Outgoing(made, event.type, envelope.to_json())


def _deleted() -> Outgoing:
    return _out(UserDeleted(user_id=USER))


def _completed() -> Outgoing:
    return _out(
        SessionCompleted(
            session_id=new_id(), user_id=USER, title="T", question=None, duration_seconds=None
        )
    )


class Seen:
    """A consumer that keeps what it is handed, and raises what it is told to."""

    def __init__(self, *failures: Exception) -> None:
        self.deliveries: list[Delivery] = []
        self.times: list[float] = []
        self.failures = list(failures)

    async def __call__(self, event: Event, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self.times.append(time.monotonic())
        if self.failures:
            raise self.failures.pop(0)

    async def until(self, count: int) -> None:
        async def has_seen() -> bool:
            return len(self.deliveries) >= count

        await eventually(has_seen, what=f"{count} deliveries")


async def test_an_event_reaches_every_service_that_listens_once(bus: Bus) -> None:
    sessions, ai = Seen(), Seen()
    transport = await bus.listen(
        Subscription("sessions", UserDeleted, sessions), Subscription("ai", UserDeleted, ai)
    )
    event = _deleted()

    assert await transport.publish([event]) == {event.id}
    await sessions.until(1)
    await ai.until(1)

    assert sessions.deliveries == [Delivery("sessions.user.deleted", event.id)]
    assert ai.deliveries == [Delivery("ai.user.deleted", event.id)]

    async def is_empty() -> bool:
        waiting = await bus.waiting()
        return set(waiting) <= {"media.user.deleted"}

    await eventually(is_empty, what="the acknowledgement")


async def test_an_event_waits_for_a_consumer_that_starts_later(bus: Bus) -> None:
    publisher = await bus.listen()
    event = _completed()
    await publisher.publish([event])
    await bus.stop(publisher)

    late = Seen()
    await bus.listen(Subscription("ai", SessionCompleted, late))
    await late.until(1)

    assert late.deliveries[0].event_id == event.id


async def test_unavailable_is_tried_again_with_growing_pauses_then_dead(bus: Bus) -> None:
    consumer = Seen(*[Unavailable("away")] * 9)
    transport = await bus.listen(Subscription("ai", SessionCompleted, consumer))

    await transport.publish([_completed()])

    async def is_dead() -> bool:
        return await bus.dead() == {"ai.session.completed": 1}

    await eventually(is_dead, what="the dead letter")
    assert [one.attempt for one in consumer.deliveries] == [1, 2, 3]
    pauses = [later - earlier for earlier, later in pairwise(consumer.times)]
    assert pauses[0] >= DELAYS[0]
    assert pauses[1] >= DELAYS[1]


async def test_unavailable_that_passes_is_done(bus: Bus) -> None:
    consumer = Seen(Unavailable("away"), RuntimeError("a bug"))
    transport = await bus.listen(Subscription("ai", SessionCompleted, consumer))

    await transport.publish([_completed()])
    await consumer.until(3)

    async def is_empty() -> bool:
        return not await bus.waiting()

    await eventually(is_empty, what="the acknowledgement")
    assert await bus.dead() == {}


async def test_what_will_not_get_better_is_dead_at_once_and_the_queue_moves_on(bus: Bus) -> None:
    consumer = Seen(Conflict("no"))
    transport = await bus.listen(Subscription("ai", SessionCompleted, consumer))
    good = _completed()
    malformed = [
        Outgoing(new_id(), "session.completed", b"not json"),
        Outgoing(new_id(), "session.completed", b'{"specversion": "0.3", "id": "x"}'),
        Outgoing(new_id(), "session.completed", good.body.replace(b'"title"', b'"tittle"')),
        Outgoing(new_id(), "session.completed", good.body.replace(b"session.completed", b"x.y")),
    ]

    await transport.publish([_completed()])
    await consumer.until(1)
    await transport.publish(malformed)
    await transport.publish([good])
    await consumer.until(2)

    async def are_dead() -> bool:
        return await bus.dead() == {"ai.session.completed": 5}

    await eventually(are_dead, what="five dead letters")
    assert [one.attempt for one in consumer.deliveries] == [1, 1]


async def test_a_slow_consumer_of_one_type_delays_no_other(bus: Bus) -> None:
    release = asyncio.Event()

    async def slow(event: Event, delivery: Delivery) -> None:
        await release.wait()

    quick = Seen()
    transport = await bus.listen(
        Subscription("ai", SessionCompleted, slow), Subscription("ai", UserDeleted, quick)
    )
    await transport.publish([_completed() for _ in range(50)])

    await transport.publish([_deleted()])
    await quick.until(1)

    release.set()


async def test_an_event_nobody_listens_to_is_kept(bus: Bus) -> None:
    transport = await bus.listen()
    event = _out(UserRegistered(user_id=USER))

    assert await transport.publish([event]) == {event.id}

    async def is_kept() -> bool:
        return (await bus.waiting()).get(UNROUTED) == 1

    await eventually(is_kept, what="the unrouted event")


async def test_a_volatile_subscription_is_told_what_happens_while_it_listens(bus: Bus) -> None:
    event = _out(SessionJudged(session_id=new_id(), user_id=USER, feedback={}))
    one, two = Seen(), Seen(Unavailable("never retried"))
    first = await bus.listen(Subscription("gateway", SessionJudged, one, is_volatile=True))
    second = await bus.listen(Subscription("gateway", SessionJudged, two, is_volatile=True))

    await first.publish([event])
    await one.until(1)
    await two.until(1)
    await bus.stop(second)
    await first.publish([event])
    await one.until(2)

    assert len(two.deliveries) == 1


async def test_many_events_are_published_with_one_wait_and_all_arrive(bus: Bus) -> None:
    consumer = Seen()
    transport = await bus.listen(Subscription("ai", SessionCompleted, consumer))
    events = [_completed() for _ in range(200)]

    assert await transport.publish(events) == {event.id for event in events}
    await consumer.until(200)

    assert {one.event_id for one in consumer.deliveries} == {event.id for event in events}


async def test_a_stop_lets_a_handler_finish(bus: Bus) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handle(event: Event, delivery: Delivery) -> None:
        begun.set()
        await asyncio.sleep(0.3)
        ended.set()

    transport = await bus.listen(Subscription("ai", SessionCompleted, handle))
    await transport.publish([_completed()])
    await begun.wait()
    await bus.stop(transport)

    assert ended.is_set()


async def test_what_was_published_outlives_the_broker(bus: Bus) -> None:
    publisher = await bus.listen()
    events = [_completed() for _ in range(20)]
    await publisher.publish(events)
    await bus.stop(publisher)

    await bus.restart()

    consumer = Seen()
    await bus.listen(Subscription("ai", SessionCompleted, consumer))
    await consumer.until(20)
    assert {one.event_id for one in consumer.deliveries} == {event.id for event in events}


@pytest.mark.servers
async def test_consumers_come_back_when_rabbitmq_does(
    bus: Bus, request: pytest.FixtureRequest
) -> None:
    if "in process" in request.node.name:
        pytest.skip("the in-process broker does not go away on its own")
    consumer = Seen()
    transport = await bus.listen(Subscription("ai", SessionCompleted, consumer))

    restarting = asyncio.create_task(bus.restart())
    refused = await _publish(transport, _completed())
    await restarting
    event = _completed()

    async def is_published() -> bool:
        return event.id in await _publish(transport, event)

    await eventually(is_published, what="publishing again", seconds=60, every_seconds=0.5)
    await consumer.until(1)

    async def has_come() -> bool:
        return event.id in {one.event_id for one in consumer.deliveries}

    await eventually(has_come, what="the delivery", seconds=60)
    assert refused == set() or len(refused) == 1
    await transport.check()


async def _publish(transport: object, event: Outgoing) -> set[UUID]:
    try:
        return await transport.publish([event])  # type: ignore[attr-defined, no-any-return]
    except Unavailable:
        return set()


async def test_an_event_for_another_service_is_not_taken(bus: Bus) -> None:
    consumer = Seen()
    transport = await bus.listen(Subscription("ai", SessionCompleted, consumer))
    confirmed = _out(
        UploadConfirmed(
            upload_id=new_id(), user_id=USER, key="k", content_type="audio/m4a", size=1, etag="e"
        )
    )

    await transport.publish([confirmed, _completed()])
    await consumer.until(1)

    assert len(consumer.deliveries) == 1
    waiting = await bus.waiting()
    assert waiting["ai.upload.confirmed"] == waiting["sessions.upload.confirmed"] == 1
