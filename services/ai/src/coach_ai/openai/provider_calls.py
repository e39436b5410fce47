"""Calls to a provider: a total deadline, a circuit breaker, metrics, and the cause of an outage."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prometheus_client import Counter, Histogram

from coach_ai.consent import require_outside_provider
from coach_common import logs
from coach_common.errors import CoachError, Unavailable

log = logs.get_logger(__name__)

PROVIDER_CALLS = Counter(
    "coach_ai_provider_calls",
    "Calls to an AI provider by outcome.",
    ["provider", "operation", "outcome"],
)
PROVIDER_CALL_SECONDS = Histogram(
    "coach_ai_provider_call_seconds",
    "Duration of a call to an AI provider, with its retries and plainer forms.",
    ["provider", "operation"],
    buckets=(0.5, 1, 2, 5, 10, 20, 40, 80, 120, 300, 600),
)

PROVIDER = "openai"

NO_RESPONSE_MESSAGE = "The AI provider does not respond. We keep trying."

MIN_SLOW_SECONDS = 20.0
"""A call that takes longer is reported, unless calls to this server usually take so long."""
_SLOW_FACTOR = 2.0
_MAX_HANGING_CALLS = 2
"""While so many calls have no response, further ones fail at once instead of waiting as well."""
_HANGING_RETRY_SECONDS = 10
_TIMEOUT_RETRY_SECONDS = 30
_PROBLEM_TTL_SECONDS = 20 * 60.0
"""Longer than the backoff of jobs. After that the last problem no longer describes the present."""
_REMEMBERED_DURATIONS = 20


class ProviderDown(Unavailable):
    """The provider as a whole is unavailable. Further calls fail until its retry delay has passed.

    `outcome` is the label of the metric.
    """

    def __init__(self, message: str, outcome: str, *, retry_after_seconds: int = 2) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.outcome = outcome


class RequestRefused(Unavailable):
    """The provider does not accept this request. An operator has to change a setting.

    Other requests may succeed. `outcome` is the label of the metric.
    """

    def __init__(self, message: str, outcome: str) -> None:
        super().__init__(message, retry_after_seconds=60)
        self.outcome = outcome


class InvalidResponse(Unavailable):
    """The response could not be read. The same request would probably get the same response."""

    outcome = "invalid_response"


class ProviderCalls:
    """The calls of one adapter to one provider.

    A call ends after `timeout_seconds`, with all its retries. After a failure of the provider
    further calls fail at once until its retry delay has passed. Then one call is sent, and the
    others wait for its outcome. `check` returns the cause while there is one.
    """

    def __init__(
        self,
        operation: str,
        timeout_seconds: float,
        *,
        slow_seconds: float = MIN_SLOW_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._operation = operation
        self._timeout_seconds = timeout_seconds
        self._slow_seconds = slow_seconds
        self._clock = clock
        self._started_at: dict[object, float] = {}
        self._durations: deque[float] = deque(maxlen=_REMEMBERED_DURATIONS)
        self._succeeded_at = float("-inf")
        self._problem: Unavailable | None = None
        self._problem_at = float("-inf")
        self._blocked_until = float("-inf")

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Guard one call, and end it at the deadline.

        Raises:
            ProviderDown: If the provider is failing or hanging, or the deadline has passed.
        """
        async with self.track():
            async with asyncio.timeout(self._timeout_seconds):
                yield

    @asynccontextmanager
    async def track(self) -> AsyncIterator[float]:
        """Guard one call whose deadline the caller enforces, and record its outcome.

        Yields the deadline in the time of the event loop. A TimeoutError of the block means that it
        has passed. For generators, which must not yield inside `asyncio.timeout`.

        Raises:
            ProviderDown: If the provider is failing or hanging, or the deadline has passed.
        """
        require_outside_provider()
        self._check_admission()
        call, started_at = object(), self._clock()
        self._started_at[call] = started_at
        outcome = "cancelled"
        try:
            yield asyncio.get_running_loop().time() + self._timeout_seconds
        except TimeoutError as error:
            outcome = "timeout"
            log.warning("openai.deadline_exceeded", operation=self._operation)
            down = ProviderDown(
                NO_RESPONSE_MESSAGE, outcome, retry_after_seconds=_TIMEOUT_RETRY_SECONDS
            )
            self._record_problem(down)
            raise down from error
        except (ProviderDown, RequestRefused, InvalidResponse) as error:
            outcome = error.outcome
            self._record_problem(error)
            raise
        except CoachError:
            outcome = "declined"
            self._record_success(started_at)
            raise
        else:
            outcome = "ok"
            self._record_success(started_at)
        finally:
            del self._started_at[call]
            PROVIDER_CALLS.labels(PROVIDER, self._operation, outcome).inc()
            PROVIDER_CALL_SECONDS.labels(PROVIDER, self._operation).observe(
                self._clock() - started_at
            )

    def check(self) -> None:
        """Raise Unavailable with the cause if the last call failed, or if calls do not end."""
        if self._count_hanging():
            raise Unavailable(NO_RESPONSE_MESSAGE)
        if self._problem is not None and self._clock() - self._problem_at < _PROBLEM_TTL_SECONDS:
            raise Unavailable(str(self._problem))

    def _check_admission(self) -> None:
        now = self._clock()
        if self._count_hanging() >= _MAX_HANGING_CALLS:
            self._reject(NO_RESPONSE_MESSAGE, _HANGING_RETRY_SECONDS)
        if not isinstance(self._problem, ProviderDown):
            return
        if now < self._blocked_until:
            self._reject(str(self._problem), max(1, round(self._blocked_until - now)))
        if self._started_at:
            self._reject(str(self._problem), _HANGING_RETRY_SECONDS)

    def _reject(self, reason: str, retry_after_seconds: int) -> None:
        PROVIDER_CALLS.labels(PROVIDER, self._operation, "not_sent").inc()
        raise ProviderDown(reason, "not_sent", retry_after_seconds=retry_after_seconds)

    def _count_hanging(self) -> int:
        """Return the calls without a response for too long, and without a success since."""
        longest = max(self._durations, default=0.0)
        limit = max(self._slow_seconds, _SLOW_FACTOR * longest)
        now = self._clock()
        return sum(
            now - max(started_at, self._succeeded_at) > limit
            for started_at in self._started_at.values()
        )

    def _record_success(self, started_at: float) -> None:
        self._succeeded_at = self._clock()
        self._durations.append(self._succeeded_at - started_at)
        self._problem = None

    def _record_problem(self, problem: Unavailable) -> None:
        self._problem, self._problem_at = problem, self._clock()
        if isinstance(problem, ProviderDown):
            self._blocked_until = self._problem_at + problem.retry_after_seconds
