"""Queries about what people's judgements took."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, insert, select

from coach_ai.tables import USAGE
from coach_common.db.transaction import Transaction


async def add_usage(
    tx: Transaction,
    session_id: UUID,
    user_id: UUID,
    *,
    tokens: int,
    seconds: float,
    at: datetime,
) -> None:
    """Keep what a judgement took."""
    await tx.execute(
        insert(USAGE).values(
            session_id=session_id, user_id=user_id, judged_at=at, tokens=tokens, seconds=seconds
        )
    )


async def tokens_since(tx: Transaction, user_id: UUID, begin: datetime) -> int:
    """Return the tokens that a person's judgements took since then."""
    used = func.coalesce(func.sum(USAGE.c.tokens), 0).label("used")
    row = await tx.row(select(used).where(USAGE.c.user_id == user_id, USAGE.c.judged_at >= begin))
    return 0 if row is None else int(row["used"])
