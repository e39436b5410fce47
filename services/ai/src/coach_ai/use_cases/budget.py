"""A user's daily token budget: reserved before a language model is called, settled afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from uuid import UUID

from prometheus_client import Counter

from coach_ai.deps import Deps
from coach_ai.store import token_budgets
from coach_ai.token_usage import BudgetExceeded, TokenUsage
from coach_common import logs
from coach_common.errors import CoachError, TooManyRequests, TransactionConflict

log = logs.get_logger(__name__)

TOKENS = Counter("coach_ai_model_tokens", "Language model tokens used.", ["use", "direction"])
DOLLARS = Counter(
    "coach_ai_model_cost_dollars", "Upper bound of their cost, for models with a price.", ["use"]
)
BUDGET_EXCEEDED = Counter(
    "coach_ai_budget_exceeded",
    "Requests rejected because the user's daily budget was spent.",
    ["use"],
)


@asynccontextmanager
async def reserve_budget(
    deps: Deps, user_id: UUID, use: str, max_tokens: int
) -> AsyncIterator[TokenUsage]:
    """Reserve `max_tokens` of the user's day, and replace them by the tokens used at the end.

    If the process dies in between, the reservation stays counted, because the provider may have
    billed the request. With `max_tokens` 0 nothing is reserved.

    Raises:
        TooManyRequests: With code `budget_spent`, if fewer tokens are left.
    """
    usage = TokenUsage()
    if not max_tokens:
        yield usage
        return
    now = deps.clock()
    try:
        is_reserved = await _reserve(deps, user_id, now.date(), max_tokens)
    except TransactionConflict:
        is_reserved = await _reserve(deps, user_id, now.date(), max_tokens)
    if not is_reserved:
        BUDGET_EXCEEDED.labels(use).inc()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        raise TooManyRequests(
            "Today's budget for the coach is used up. It resets at midnight UTC.",
            code="budget_spent",
            retry_after_seconds=int((midnight - now).total_seconds()) + 1,
        )
    try:
        yield usage
    finally:
        # Shielded: a request that is cancelled has used tokens too.
        await asyncio.shield(_settle(deps, user_id, use, now.date(), max_tokens, usage))


@dataclass(slots=True)
class UserBudget:
    """A TokenBudget of a user's day, for work whose size is known only after it has started."""

    deps: Deps
    user_id: UUID
    use: str
    reason: str
    """Sentence for the user if the budget is used up."""
    usage: TokenUsage = field(default_factory=TokenUsage)
    _day: date | None = None
    _reserved: int = 0

    async def reserve(self, tokens: int) -> None:
        """Reserve tokens of the user's day. Raises BudgetExceeded if fewer are left."""
        day = self.deps.clock().date()
        if not await _reserve(self.deps, self.user_id, day, tokens):
            BUDGET_EXCEEDED.labels(self.use).inc()
            raise BudgetExceeded(self.reason)
        self._day, self._reserved = day, self._reserved + tokens

    async def settle(self) -> None:
        """Replace the reservation by the tokens used."""
        if self._day is not None:
            await _settle(self.deps, self.user_id, self.use, self._day, self._reserved, self.usage)


@asynccontextmanager
async def open_budget(
    deps: Deps, user_id: UUID, use: str, *, reason: str
) -> AsyncIterator[UserBudget]:
    """Return a budget from which the block reserves, and settle it at the end."""
    budget = UserBudget(deps, user_id, use, reason)
    try:
        yield budget
    finally:
        # Shielded: work that is cancelled has used tokens too.
        await asyncio.shield(budget.settle())


async def _reserve(deps: Deps, user_id: UUID, day: date, max_tokens: int) -> bool:
    async with deps.db.transaction() as tx:
        return await token_budgets.reserve_tokens(
            tx, user_id, day=day, tokens=max_tokens, limit=deps.daily_tokens
        )


async def _settle(
    deps: Deps, user_id: UUID, use: str, day: date, reserved: int, usage: TokenUsage
) -> None:
    TOKENS.labels(use, "in").inc(usage.tokens_in)
    TOKENS.labels(use, "out").inc(usage.tokens_out)
    DOLLARS.labels(use).inc((usage.cost_microdollars(deps.prices) or 0) / 1e6)
    try:
        async with deps.db.transaction() as tx:
            await token_budgets.settle_tokens(
                tx, user_id, day=day, reserved=reserved, used=usage.tokens
            )
    except CoachError as error:
        log.warning("budget.settlement_failed", use=use, code=error.code)
