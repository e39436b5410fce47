"""Queries about language model tokens: daily budgets, and the usage of each scored session."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import case, insert, or_, update

from coach_ai.tables import BUDGETS, SCORING_USAGE
from coach_ai.token_usage import TokenUsage
from coach_common.db.transaction import Transaction


async def reserve_tokens(
    tx: Transaction, user_id: UUID, *, day: date, tokens: int, limit: int
) -> bool:
    """Reserve tokens of the user's day. Return False if fewer than `tokens` are left of `limit`.

    This is one conditional update, so parallel reservations cannot exceed the limit together.
    """
    if tokens > limit:
        return False
    columns = BUDGETS.c
    # Not INSERT IGNORE: on a duplicate it takes a shared row lock, and parallel transactions would
    # deadlock when they upgrade it.
    await tx.execute(
        tx.dialect.upsert(
            BUDGETS, {"user_id": user_id, "day": day, "tokens": 0}, update={"user_id": user_id}
        )
    )
    is_today = columns.day == day
    reserved = await tx.execute(
        update(BUDGETS)
        .where(
            columns.user_id == user_id,
            or_(columns.day < day, is_today & (columns.tokens + tokens <= limit)),
        )
        # Ordered: MySQL evaluates assignments from left to right with the values already assigned.
        .ordered_values(
            (columns.tokens, case((is_today, columns.tokens), else_=0) + tokens),
            (columns.day, day),
        )
    )
    return reserved.rowcount == 1


async def settle_tokens(
    tx: Transaction, user_id: UUID, *, day: date, reserved: int, used: int
) -> None:
    """Replace a reservation by the tokens used. Does nothing if a new day has started."""
    await tx.execute(
        update(BUDGETS)
        .where(BUDGETS.c.user_id == user_id, BUDGETS.c.day == day)
        .values(tokens=BUDGETS.c.tokens - reserved + used)
    )


async def add_usage(
    tx: Transaction,
    session_id: UUID,
    user_id: UUID,
    usage: TokenUsage,
    *,
    prompt_version: str | None,
    cost_microdollars: int | None,
    seconds: float,
    at: datetime,
) -> None:
    """Store the tokens, time and cost of scoring a session."""
    await tx.execute(
        insert(SCORING_USAGE).values(
            session_id=session_id,
            user_id=user_id,
            scored_at=at,
            tokens=usage.tokens,
            seconds=seconds,
            model=usage.model,
            prompt_version=prompt_version,
            tokens_in=usage.tokens_in,
            tokens_out=usage.tokens_out,
            cost_microdollars=cost_microdollars,
        )
    )
