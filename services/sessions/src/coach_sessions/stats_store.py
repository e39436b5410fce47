"""The queries of the statistics of a user, which lists read from one stored row."""

from dataclasses import asdict, fields
from functools import cache
from uuid import UUID

from sqlalchemy import Insert, bindparam, case, func, select, update

from coach_common.db.dialect import Dialect
from coach_common.db.transaction import Transaction
from coach_sessions.domain import Stats
from coach_sessions.tables import SESSION_STATS, SESSIONS

_GET_STATS = select(*(SESSION_STATS.c[item.name] for item in fields(Stats))).where(
    SESSION_STATS.c.user_id == bindparam("user_id")
)


async def get_stats(tx: Transaction, user_id: UUID) -> Stats:
    """Return the user's statistics."""
    row = await tx.fetch_one(_GET_STATS, {"user_id": user_id})
    return Stats() if row is None else Stats(**row)


async def count_session(tx: Transaction, user_id: UUID) -> None:
    """Count a new session without a score."""
    await tx.execute(_count_session(tx.dialect), {"counted_user_id": user_id})


async def compute_stats(tx: Transaction, user_id: UUID) -> Stats:
    """Return the user's statistics from all sessions, which the stored row must equal."""
    columns = SESSIONS.c
    is_scored = columns.overall_score.is_not(None)
    order = func.row_number().over(
        partition_by=is_scored, order_by=(columns.created_at, columns.id)
    )
    scores = (
        select(
            columns.overall_score.label("score"),
            order.label("position"),
            func.count(columns.overall_score).over().label("scored"),
        )
        .where(columns.user_id == user_id)
        .subquery()
    )
    score, position, scored = scores.c.score, scores.c.position, scores.c.scored
    half = case((2 * position > scored + 1, score), (2 * position <= scored, -score))
    row = await tx.fetch_one(
        select(
            func.count().label("total"),
            func.count(score).label("scored"),
            func.coalesce(func.sum(score), 0).label("score_sum"),
            func.coalesce(func.sum(half), 0).label("half_difference"),
        ).select_from(scores)
    )
    # MariaDB returns sums as decimals.
    return Stats() if row is None else Stats(**{name: int(row[name]) for name in row})


async def refresh_stats(tx: Transaction, user_id: UUID) -> None:
    """Compute the user's statistics again after a session of the transaction has changed."""
    key = {"user_id": user_id}
    # The lock lets transactions of one user follow each other, so each sees the changes before it.
    await tx.execute(tx.dialect.upsert(SESSION_STATS, key | asdict(Stats()), update=key))
    stats = await compute_stats(tx, user_id)
    await tx.execute(
        update(SESSION_STATS).where(SESSION_STATS.c.user_id == user_id).values(**asdict(stats))
    )


@cache
def _count_session(dialect: Dialect) -> Insert:
    first = {"user_id": bindparam("counted_user_id"), **asdict(Stats(total=1))}
    return dialect.upsert(SESSION_STATS, first, update={"total": SESSION_STATS.c.total + 1})
