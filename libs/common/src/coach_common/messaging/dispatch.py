"""From a delivered body to a consumer, and what becomes of the delivery. Both transports use it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import structlog

from coach_common import logs, telemetry
from coach_common.db.transaction import AlreadyHandled, Delivery
from coach_common.errors import CoachError, Contended, Invalid, Unavailable
from coach_common.events.base import Envelope, Event
from coach_common.messaging.subscriptions import RETRY_DELAYS_SECONDS, Subscription

log = logs.get(__name__)


class Outcome(Enum):
    """What the transport does with the delivery."""

    DONE = "done"
    RETRY = "retry"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome, the pause before a retry, and a reason without content."""

    outcome: Outcome
    delay_seconds: float = 0.0
    reason: str = ""


async def dispatch(
    subscription: Subscription,
    body: bytes,
    *,
    attempt: int,
    delays: Sequence[float] = RETRY_DELAYS_SECONDS,
) -> Verdict:
    """Hand the event to its consumer and judge how that went.

    Done also where the consumer had applied it before. Unavailable and bugs are tried again
    with growing pauses, then dead; malformed events and refusals are dead at once, for they
    will not get better.
    """
    began = time.perf_counter()
    verdict = await _judge(subscription, body, attempt, delays)
    telemetry.EVENTS_HANDLED.labels(subscription.queue, verdict.outcome.value).inc()
    telemetry.EVENT_SECONDS.labels(subscription.queue).observe(time.perf_counter() - began)
    return verdict


async def _judge(
    subscription: Subscription, body: bytes, attempt: int, delays: Sequence[float]
) -> Verdict:
    try:
        envelope = Envelope.from_json(body)
        if envelope.type != subscription.event.type:
            raise Invalid(f"{envelope.type} in the queue of {subscription.event.type}")
        event = envelope.read(subscription.event)
    except Invalid as error:
        log.error("event.malformed", consumer=subscription.queue, reason=str(error))
        return Verdict(Outcome.DEAD, reason=str(error))
    delivery = Delivery(subscription.queue, envelope.id, attempt)
    telemetry.trace.set(telemetry.continue_trace(envelope.traceparent))
    with structlog.contextvars.bound_contextvars(
        event_id=str(envelope.id), consumer=subscription.queue
    ):
        return await _handle(subscription, event, delivery, delays)


async def _handle(
    subscription: Subscription, event: Event, delivery: Delivery, delays: Sequence[float]
) -> Verdict:
    try:
        try:
            await subscription.handle(event, delivery)
        except Contended:
            await subscription.handle(event, delivery)
    except AlreadyHandled:
        log.debug("event.already_handled")
        return Verdict(Outcome.DONE)
    except Unavailable as error:
        return _again(delivery.attempt, str(error), delays)
    except CoachError as error:
        log.error("event.refused", code=error.code)
        return Verdict(Outcome.DEAD, reason=f"{error.code}: {error}")
    except Exception as error:
        log.exception("event.crashed", attempt=delivery.attempt)
        return _again(delivery.attempt, type(error).__name__, delays)
    return Verdict(Outcome.DONE)


def _again(attempt: int, reason: str, delays: Sequence[float]) -> Verdict:
    if attempt > len(delays):
        log.error("event.dead", attempt=attempt, reason=reason)
        return Verdict(Outcome.DEAD, reason=reason)
    delay = delays[attempt - 1]
    log.warning("event.retry", attempt=attempt, delay_seconds=delay, reason=reason)
    return Verdict(Outcome.RETRY, delay_seconds=delay, reason=reason)
