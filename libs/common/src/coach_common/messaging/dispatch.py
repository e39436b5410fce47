"""Calls the consumer for a received message and decides its outcome, for both transports."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from uuid import UUID

import structlog

from coach_common import logs, telemetry, tracing
from coach_common.errors import CoachError, InvalidInput, TransactionConflict, Unavailable
from coach_common.events.base import Envelope, Event
from coach_common.events.catalog import UserDeleted
from coach_common.messaging.message import AlreadyProcessed, MessageContext
from coach_common.messaging.subscriptions import RETRY_DELAYS_SECONDS, Subscription

log = logs.get_logger(__name__)


class Outcome(Enum):
    """What the transport does with a message."""

    DONE = "done"
    RETRY = "retry"
    DEAD_LETTER = "dead"


@dataclass(frozen=True, slots=True)
class DispatchResult:
    """The outcome, the delay before a retry, and a reason that quotes no content.

    `deleted_user_id` is set after a consumer has deleted a user's data. The transport then deletes
    the dead letters and unrouted events about this user.
    """

    outcome: Outcome
    delay_seconds: float = 0.0
    reason: str = ""
    deleted_user_id: UUID | None = None


async def dispatch(
    subscription: Subscription,
    body: bytes,
    *,
    attempt: int,
    delays: Sequence[float] = RETRY_DELAYS_SECONDS,
) -> DispatchResult:
    """Call the consumer and map the result to an outcome.

    DONE: processed, or a duplicate. RETRY: a dependency was unavailable or the consumer raised an
    unexpected exception; retried with backoff, dead-lettered after the last attempt. DEAD_LETTER:
    malformed event, a source other than the catalogue's, or a permanent error.
    """
    started_at = time.perf_counter()
    result = await _parse_and_handle(subscription, body, attempt, delays)
    telemetry.EVENTS_HANDLED.labels(subscription.queue, result.outcome.value).inc()
    telemetry.EVENT_HANDLING_SECONDS.labels(subscription.queue).observe(
        time.perf_counter() - started_at
    )
    return result


async def _parse_and_handle(
    subscription: Subscription, body: bytes, attempt: int, delays: Sequence[float]
) -> DispatchResult:
    try:
        envelope = Envelope.from_json(body)
        if envelope.type != subscription.event.type:
            raise InvalidInput(
                f"unexpected event type {envelope.type} in the queue of {subscription.event.type}"
            )
        if envelope.source != f"/services/{subscription.event.source}":
            raise InvalidInput(f"{envelope.type} from an unexpected source")
        event = envelope.parse_data(subscription.event)
    except InvalidInput as error:
        log.error("event.malformed", consumer=subscription.queue, reason=str(error))
        return DispatchResult(Outcome.DEAD_LETTER, reason=str(error))
    message = MessageContext(subscription.queue, envelope.id, attempt)
    span = tracing.start_span(
        subscription.service,
        f"process {envelope.type}",
        tracing.Kind.CONSUMER,
        parent=envelope.traceparent,
    )
    telemetry.current_traceparent.set(span.traceparent)
    with structlog.contextvars.bound_contextvars(
        event_id=str(envelope.id), consumer=subscription.queue
    ):
        result = await _call_consumer(subscription, event, message, delays)
    span.end(
        {"messaging.message.id": str(envelope.id), "coach.outcome": result.outcome.value},
        error="" if result.outcome is Outcome.DONE else result.reason.partition(":")[0],
    )
    if (
        result.outcome is Outcome.DONE
        and isinstance(event, UserDeleted)
        and not subscription.is_transient
    ):
        return replace(result, deleted_user_id=event.user_id)
    return result


async def _call_consumer(
    subscription: Subscription, event: Event, message: MessageContext, delays: Sequence[float]
) -> DispatchResult:
    try:
        try:
            await subscription.handle(event, message)
        except TransactionConflict:
            await subscription.handle(event, message)
    except AlreadyProcessed:
        log.debug("event.duplicate_ignored")
        return DispatchResult(Outcome.DONE)
    except Unavailable as error:
        return _retry_or_dead_letter(message.attempt, str(error), delays)
    except CoachError as error:
        log.error("event.rejected", code=error.code)
        return DispatchResult(Outcome.DEAD_LETTER, reason=f"{error.code}: {error}")
    except Exception as error:
        log.exception("event.handler_failed", attempt=message.attempt)
        return _retry_or_dead_letter(message.attempt, type(error).__name__, delays)
    return DispatchResult(Outcome.DONE)


def _retry_or_dead_letter(attempt: int, reason: str, delays: Sequence[float]) -> DispatchResult:
    if attempt > len(delays):
        log.error("event.dead_lettered", attempt=attempt, reason=reason)
        return DispatchResult(Outcome.DEAD_LETTER, reason=reason)
    delay = delays[attempt - 1]
    log.warning("event.retry_scheduled", attempt=attempt, delay_seconds=delay, reason=reason)
    return DispatchResult(Outcome.RETRY, delay_seconds=delay, reason=reason)
