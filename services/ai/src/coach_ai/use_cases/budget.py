"""A person's budget for the day: held before a language model is asked, settled afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from uuid import UUID

from prometheus_client import Counter

from coach_ai.deps import Deps
from coach_ai.domain import Answer, Talk
from coach_ai.spending import Spent
from coach_ai.store import usage
from coach_common import logs
from coach_common.errors import CoachError, TooManyRequests, TransactionConflict

log = logs.get_logger(__name__)

TOKENS = Counter(
    "coach_ai_model_tokens", "Tokens spent at a language model, by use.", ["use", "direction"]
)
DOLLARS = Counter(
    "coach_ai_model_cost_dollars", "What they cost at most, where the price is known.", ["use"]
)
REFUSED = Counter("coach_ai_budget_refusals", "Asked for over the day's budget.", ["use"])


@asynccontextmanager
async def held(deps: Deps, user_id: UUID, use: str, work: Answer | Talk) -> AsyncIterator[Spent]:
    """Hold the most that this may take of the person's day, and count what it took in the end.

    Raises TooMany where less is left. A process that dies in between leaves the tokens counted:
    what it had asked for may have been billed. Where nothing is counted nothing is held.
    """
    spent = Spent()
    most = deps.coach.most_tokens(work)
    if not most:
        yield spent
        return
    now = deps.clock()
    try:
        is_held = await _hold(deps, user_id, now.date(), most)
    except TransactionConflict:
        is_held = await _hold(deps, user_id, now.date(), most)
    if not is_held:
        REFUSED.labels(use).inc()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        raise TooManyRequests(
            "Today's budget for the coach is used up. It is full again at midnight, UTC.",
            code="budget_spent",
            retry_after_seconds=int((midnight - now).total_seconds()) + 1,
        )
    try:
        yield spent
    finally:
        # Shielded: whoever leaves in the middle has spent something all the same.
        await asyncio.shield(_settle(deps, user_id, use, now.date(), most, spent))


async def _hold(deps: Deps, user_id: UUID, day: date, most: int) -> bool:
    async with deps.db.transaction() as tx:
        return await usage.hold_tokens(tx, user_id, day=day, tokens=most, limit=deps.daily_tokens)


async def _settle(deps: Deps, user_id: UUID, use: str, day: date, most: int, spent: Spent) -> None:
    TOKENS.labels(use, "in").inc(spent.tokens_in)
    TOKENS.labels(use, "out").inc(spent.tokens_out)
    DOLLARS.labels(use).inc((spent.microdollars(deps.prices) or 0) / 1e6)
    try:
        async with deps.db.transaction() as tx:
            await usage.settle_tokens(tx, user_id, day=day, held=most, spent=spent.tokens)
    except CoachError as error:
        log.warning("budget.not_settled", use=use, code=error.code)
