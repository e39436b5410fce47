"""Queries about what was asked of a language model: a person's day, and what each answer took."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import case, insert, or_, select, update

from coach_ai.spending import Spent
from coach_ai.tables import BUDGETS, USAGE
from coach_common.db.transaction import Transaction


async def hold_tokens(
    tx: Transaction, user_id: UUID, *, day: date, tokens: int, limit: int
) -> bool:
    """Take tokens out of the person's day if so many are left; tell whether they were.

    One conditional update: of two at once, the second sees what the first one took.
    """
    if tokens > limit:
        return False
    columns = BUDGETS.c
    # Not INSERT IGNORE: of many at once each would share the row, and none could have it alone.
    await tx.execute(
        tx.dialect.upsert(
            BUDGETS, {"user_id": user_id, "day": day, "tokens": 0}, update={"user_id": user_id}
        )
    )
    is_today = columns.day == day
    held = await tx.execute(
        update(BUDGETS)
        .where(
            columns.user_id == user_id,
            or_(columns.day < day, is_today & (columns.tokens + tokens <= limit)),
        )
        # In this order: MySQL's later assignments see the earlier ones.
        .ordered_values(
            (columns.tokens, case((is_today, columns.tokens), else_=0) + tokens),
            (columns.day, day),
        )
    )
    return held.rowcount == 1


async def settle_tokens(
    tx: Transaction, user_id: UUID, *, day: date, held: int, spent: int
) -> None:
    """Put what was spent in the place of what was held; nothing where a new day has begun."""
    await tx.execute(
        update(BUDGETS)
        .where(BUDGETS.c.user_id == user_id, BUDGETS.c.day == day)
        .values(tokens=BUDGETS.c.tokens - held + spent)
    )


async def tokens_on(tx: Transaction, user_id: UUID, day: date) -> int:
    """Return the tokens that a person spent and holds on that day, if it is their last one."""
    row = await tx.fetch_one(
        select(BUDGETS.c.tokens).where(BUDGETS.c.user_id == user_id, BUDGETS.c.day == day)
    )
    return 0 if row is None else int(row["tokens"])


async def add_usage(
    tx: Transaction,
    session_id: UUID,
    user_id: UUID,
    spent: Spent,
    *,
    prompt_version: str | None,
    cost_microdollars: int | None,
    seconds: float,
    at: datetime,
) -> None:
    """Keep what a judgement took."""
    await tx.execute(
        insert(USAGE).values(
            session_id=session_id,
            user_id=user_id,
            judged_at=at,
            tokens=spent.tokens,
            seconds=seconds,
            model=spent.model,
            prompt_version=prompt_version,
            tokens_in=spent.tokens_in,
            tokens_out=spent.tokens_out,
            cost_microdollars=cost_microdollars,
        )
    )
