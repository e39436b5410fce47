"""Guarantees of both transports: at least once, unordered, retried with backoff, never lost."""

import asyncio
import time
from itertools import pairwise
from uuid import UUID

import pytest
from transports import DELAYS, TransportHarness

from coach_common.db.transaction import MessageContext
from coach_common.errors import Conflict, Unavailable
from coach_common.events.base import Envelope, Event
from coach_common.events.catalog import (
    FeedbackFailed,
    SessionCompleted,
    SessionJudged,
    UploadConfirmed,
    UserDeleted,
    UserRegistered,
)
from coach_common.ids import new_id
from coach_common.messaging.subscriptions import UNROUTED_QUEUE, OutboxMessage, Subscription
from coach_common.testing.harness import wait_until

USER = new_id()


def _out(event: Event, event_id: UUID | None = None) -> OutboxMessage:
    made = event_id or new_id()
    envelope = Envelope.wrap(
        event,
        id=made,
        source=f"/services/{event.source}",
        time="2026-11-24T12:00:00.000000Z",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    return OutboxMessage(made, event.type, envelope.to_json())


def _deleted() -> OutboxMessage:
    return _out(UserDeleted(user_id=USER))


def _completed() -> OutboxMessage:
    return _out(
        SessionCompleted(
            session_id=new_id(), user_id=USER, title="T", question=None, duration_seconds=None
        )
    )


class RecordingConsumer:
    """A consumer that records messages and raises the given errors."""

    def __init__(self, *failures: Exception) -> None:
        self.deliveries: list[MessageContext] = []
        self.times: list[float] = []
        self.failures = list(failures)

    async def __call__(self, event: Event, message: MessageContext) -> None:
        self.deliveries.append(message)
        self.times.append(time.monotonic())
        if self.failures:
            raise self.failures.pop(0)

    async def until(self, count: int) -> None:
        async def has_seen() -> bool:
            return len(self.deliveries) >= count

        await wait_until(has_seen, description=f"{count} deliveries")


async def test_burst_is_delivered_once_while_handlers_are_slow(bus: TransportHarness) -> None:
    consumer = RecordingConsumer()

    async def handle(event: Event, message: MessageContext) -> None:
        await asyncio.sleep(0.02)
        await consumer(event, message)

    transport = await bus.start_transport(Subscription("ai", SessionCompleted, handle))
    events = [_completed() for _ in range(150)]

    for start in range(0, len(events), 7):
        batch = events[start : start + 7]
        assert await transport.publish(batch) == {event.id for event in batch}
    await consumer.until(len(events))

    async def is_empty() -> bool:
        return not (await bus.queue_depths()).get("ai.session.completed")

    await wait_until(is_empty, description="the acknowledgement of all events")
    assert {one.event_id for one in consumer.deliveries} == {event.id for event in events}
    assert len(consumer.deliveries) == len(events)


async def test_event_is_delivered_once_to_each_subscribed_service(bus: TransportHarness) -> None:
    sessions, ai = RecordingConsumer(), RecordingConsumer()
    transport = await bus.start_transport(
        Subscription("sessions", UserDeleted, sessions), Subscription("ai", UserDeleted, ai)
    )
    event = _deleted()

    assert await transport.publish([event]) == {event.id}
    await sessions.until(1)
    await ai.until(1)

    assert sessions.deliveries == [MessageContext("sessions.user.deleted", event.id)]
    assert ai.deliveries == [MessageContext("ai.user.deleted", event.id)]

    async def is_empty() -> bool:
        waiting = await bus.queue_depths()
        return set(waiting) <= {"media.user.deleted"}

    await wait_until(is_empty, description="the acknowledgement")


async def test_event_is_kept_for_a_consumer_that_starts_later(bus: TransportHarness) -> None:
    publisher = await bus.start_transport()
    event = _completed()
    await publisher.publish([event])
    await bus.stop(publisher)

    late = RecordingConsumer()
    await bus.start_transport(Subscription("ai", SessionCompleted, late))
    await late.until(1)

    assert late.deliveries[0].event_id == event.id


async def test_unavailable_is_retried_with_backoff_then_dead_lettered(
    bus: TransportHarness,
) -> None:
    consumer = RecordingConsumer(*[Unavailable("unavailable")] * 9)
    transport = await bus.start_transport(Subscription("ai", SessionCompleted, consumer))

    await transport.publish([_completed()])

    async def is_dead() -> bool:
        return await bus.dead_letter_counts() == {"ai.session.completed": 1}

    await wait_until(is_dead, description="the dead letter")
    assert [one.attempt for one in consumer.deliveries] == [1, 2, 3]
    delays = [later - earlier for earlier, later in pairwise(consumer.times)]
    assert delays[0] >= DELAYS[0]
    assert delays[1] >= DELAYS[1]


async def test_retry_succeeds_after_transient_failure(bus: TransportHarness) -> None:
    consumer = RecordingConsumer(Unavailable("unavailable"), RuntimeError("a bug"))
    transport = await bus.start_transport(Subscription("ai", SessionCompleted, consumer))

    await transport.publish([_completed()])
    await consumer.until(3)

    async def is_empty() -> bool:
        return not await bus.queue_depths()

    await wait_until(is_empty, description="the acknowledgement")
    assert await bus.dead_letter_counts() == {}


async def test_permanent_failures_are_dead_lettered_without_blocking_the_queue(
    bus: TransportHarness,
) -> None:
    consumer = RecordingConsumer(Conflict("no"))
    transport = await bus.start_transport(Subscription("ai", SessionCompleted, consumer))
    good = _completed()
    malformed = [
        OutboxMessage(new_id(), "session.completed", b"not json"),
        OutboxMessage(new_id(), "session.completed", b'{"specversion": "0.3", "id": "x"}'),
        OutboxMessage(new_id(), "session.completed", good.body.replace(b'"title"', b'"tittle"')),
        OutboxMessage(
            new_id(), "session.completed", good.body.replace(b"session.completed", b"x.y")
        ),
        OutboxMessage(
            new_id(), "session.completed", good.body.replace(b"/services/sessions", b"/services/ai")
        ),
    ]

    await transport.publish([_completed()])
    await consumer.until(1)
    await transport.publish(malformed)
    await transport.publish([good])
    await consumer.until(2)

    async def are_dead() -> bool:
        return await bus.dead_letter_counts() == {"ai.session.completed": 6}

    await wait_until(are_dead, description="six dead letters")
    assert [one.attempt for one in consumer.deliveries] == [1, 1]


async def test_messages_about_deleted_user_are_deleted_everywhere(bus: TransportHarness) -> None:
    other = new_id()
    consumer = RecordingConsumer(Conflict("no"), Conflict("no"))
    deleting = RecordingConsumer()
    transport = await bus.start_transport(
        Subscription("sessions", UserDeleted, deleting),
        Subscription("sessions", FeedbackFailed, consumer),
    )
    events = [
        _out(FeedbackFailed(session_id=new_id(), user_id=user, reason="R", retryable=True))
        for user in (USER, other)
    ]
    malformed = OutboxMessage(
        new_id(), "feedback.failed", events[0].body.replace(b'"reason"', b'"words"')
    )
    registered = [_out(UserRegistered(user_id=user)) for user in (USER, other)]
    await transport.publish([*events, malformed, *registered])

    async def are_dead() -> bool:
        dead, depths = await bus.dead_letter_counts(), await bus.queue_depths()
        return dead == {"sessions.feedback.failed": 3} and depths.get(UNROUTED_QUEUE) == 2

    await wait_until(are_dead, description="the dead letters and the unrouted events")

    await transport.publish([_deleted()])

    async def are_deleted() -> bool:
        dead, depths = await bus.dead_letter_counts(), await bus.queue_depths()
        return dead == {"sessions.feedback.failed": 1} and depths.get(UNROUTED_QUEUE) == 1

    await wait_until(are_deleted, description="the deletion of both")


async def test_slow_consumer_does_not_block_other_event_types(bus: TransportHarness) -> None:
    release = asyncio.Event()

    async def slow(event: Event, message: MessageContext) -> None:
        await release.wait()

    quick = RecordingConsumer()
    transport = await bus.start_transport(
        Subscription("ai", SessionCompleted, slow), Subscription("ai", UserDeleted, quick)
    )
    await transport.publish([_completed() for _ in range(50)])

    await transport.publish([_deleted()])
    await quick.until(1)

    release.set()


async def test_unrouted_event_is_kept(bus: TransportHarness) -> None:
    transport = await bus.start_transport()
    event = _out(UserRegistered(user_id=USER))

    assert await transport.publish([event]) == {event.id}

    async def is_kept() -> bool:
        return (await bus.queue_depths()).get(UNROUTED_QUEUE) == 1

    await wait_until(is_kept, description="the unrouted event")


async def test_transient_subscription_receives_events_only_while_connected(
    bus: TransportHarness,
) -> None:
    event = _out(
        SessionJudged(
            session_id=new_id(), user_id=USER, feedback={"session_id": "s", "status": "ready"}
        )
    )
    one, two = RecordingConsumer(), RecordingConsumer(Unavailable("never retried"))
    first = await bus.start_transport(
        Subscription("gateway", SessionJudged, one, is_transient=True)
    )
    second = await bus.start_transport(
        Subscription("gateway", SessionJudged, two, is_transient=True)
    )

    await first.publish([event])
    await one.until(1)
    await two.until(1)
    await bus.stop(second)
    await first.publish([event])
    await one.until(2)

    assert len(two.deliveries) == 1


async def test_batch_publish_confirms_and_delivers_all(bus: TransportHarness) -> None:
    consumer = RecordingConsumer()
    transport = await bus.start_transport(Subscription("ai", SessionCompleted, consumer))
    events = [_completed() for _ in range(200)]

    assert await transport.publish(events) == {event.id for event in events}
    await consumer.until(200)

    assert {one.event_id for one in consumer.deliveries} == {event.id for event in events}


async def test_stop_waits_for_running_handlers(bus: TransportHarness) -> None:
    started, finished = asyncio.Event(), asyncio.Event()

    async def handle(event: Event, message: MessageContext) -> None:
        started.set()
        await asyncio.sleep(0.3)
        finished.set()

    transport = await bus.start_transport(Subscription("ai", SessionCompleted, handle))
    await transport.publish([_completed()])
    await started.wait()
    await bus.stop(transport)

    assert finished.is_set()


async def test_published_events_survive_broker_restart(bus: TransportHarness) -> None:
    publisher = await bus.start_transport()
    events = [_completed() for _ in range(20)]
    await publisher.publish(events)
    await bus.stop(publisher)

    await bus.restart()

    consumer = RecordingConsumer()
    await bus.start_transport(Subscription("ai", SessionCompleted, consumer))
    await consumer.until(20)
    assert {one.event_id for one in consumer.deliveries} == {event.id for event in events}


@pytest.mark.servers
async def test_consumers_reconnect_after_rabbitmq_restart(
    bus: TransportHarness, request: pytest.FixtureRequest
) -> None:
    if "in process" in request.node.name:
        pytest.skip("the in-process broker cannot be unavailable by itself")
    consumer = RecordingConsumer()
    transport = await bus.start_transport(Subscription("ai", SessionCompleted, consumer))

    restarting = asyncio.create_task(bus.restart())
    refused = await _publish(transport, _completed())
    await restarting
    event = _completed()

    async def is_published() -> bool:
        return event.id in await _publish(transport, event)

    await wait_until(is_published, description="publishing again", interval_seconds=0.5)
    await consumer.until(1)

    async def has_come() -> bool:
        return event.id in {one.event_id for one in consumer.deliveries}

    await wait_until(has_come, description="the delivery")
    assert refused == set() or len(refused) == 1
    await transport.check()


async def _publish(transport: object, event: OutboxMessage) -> set[UUID]:
    try:
        return await transport.publish([event])  # type: ignore[attr-defined, no-any-return]
    except Unavailable:
        return set()


async def test_consumer_ignores_events_of_other_queues(bus: TransportHarness) -> None:
    consumer = RecordingConsumer()
    transport = await bus.start_transport(Subscription("ai", SessionCompleted, consumer))
    confirmed = _out(
        UploadConfirmed(
            upload_id=new_id(), user_id=USER, key="k", content_type="audio/m4a", size=1, etag="e"
        )
    )

    await transport.publish([confirmed, _completed()])
    await consumer.until(1)

    assert len(consumer.deliveries) == 1
    waiting = await bus.queue_depths()
    assert waiting["ai.upload.confirmed"] == waiting["sessions.upload.confirmed"] == 1
