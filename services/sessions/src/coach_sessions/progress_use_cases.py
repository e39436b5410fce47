"""The use cases of attempts and progress."""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import partial
from uuid import UUID

from prometheus_client import Counter

from coach_common import logs
from coach_common.db.transaction import Transaction
from coach_common.errors import TransactionConflict
from coach_common.identity import Identity
from coach_sessions import progress_store, self_rating, store, use_cases
from coach_sessions.attempts import AttemptPage, compare_attempts
from coach_sessions.deps import Deps
from coach_sessions.domain import Session, SessionNotFound
from coach_sessions.progress import (
    MAX_STREAK_DAYS,
    WINDOW_ENTRIES,
    PracticeDay,
    Progress,
    assess_self_ratings,
    choose_drill,
    compute_trends,
    count_streak,
    find_weaknesses,
    is_same_scorer,
    sum_practice,
)
from coach_sessions.reveals import record_reveals

log = logs.get_logger(__name__)

SELF_RATINGS = Counter("coach_sessions_self_ratings", "Self-ratings that were stored.")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STREAK_BATCH_DAYS = 64
_REBUILD_BATCH_SIZE = 100
_REBUILD_TRIES = 5


async def list_attempts(
    deps: Deps,
    caller: Identity,
    session_id: UUID,
    *,
    limit: int,
    position: tuple[datetime, UUID] | None,
) -> AttemptPage:
    """Return a page of the caller's attempts at the question of a session, that session included.

    Raises:
        SessionNotFound: If the session does not exist or belongs to another user.
        IsInterview: If the session is an interview.
    """
    async with deps.db.read_only() as tx:
        session = await store.get_session(tx, session_id, user_id=caller.user_id)
        session.require_practice()
        attempts = await progress_store.list_attempts(
            tx, session, limit=limit + 1, position=position
        )
        page = attempts[:limit]
        last = (page[-1].created_at, page[-1].id) if page else None
        earlier = None
        if last is not None and len(attempts) > limit:
            earlier = await progress_store.find_scored_attempt_before(tx, session, last)
    await record_reveals(deps, page)
    compared = compare_attempts(page, earlier)
    return AttemptPage(compared, last if len(attempts) > limit else None)


async def rate_session(deps: Deps, caller: Identity, session_id: UUID, rating: int) -> Session:
    """Store how the user rates the answer, 0 to 100, before the score was shown.

    Raises:
        SessionNotFound: If the session does not exist or belongs to another user.
        FeedbackRevealed: If the score was already shown.
        IsInterview: If the session is an interview.
    """
    async with deps.db.transaction() as tx:
        session = await use_cases.update_session_once(
            deps,
            tx,
            session_id,
            user_id=caller.user_id,
            change=lambda one: self_rating.rate_session(one, rating, at=deps.clock()),
        )
        if session is None:
            raise SessionNotFound
    SELF_RATINGS.inc()
    return session


async def get_progress(deps: Deps, caller: Identity, zone: tzinfo) -> Progress:
    """Return the caller's progress. Streaks use the days of the time zone.

    It reads a bounded number of rows, however many sessions there are.
    """
    now = deps.clock()
    async with deps.db.read_only() as tx:
        entries = await progress_store.list_scored_entries(
            tx, caller.user_id, limit=2 * WINDOW_ENTRIES
        )
        totals = await progress_store.get_practice_totals(tx, caller.user_id)
        days, dates = await _list_streak_days(tx, caller.user_id, now, zone)
    trends = compute_trends(entries)
    return Progress(
        practice=sum_practice(totals, days, now),
        streak=count_streak(dates, now.astimezone(zone).date()),
        trends=trends,
        is_same_scorer=is_same_scorer(entries),
        self_assessment=assess_self_ratings(entries),
        weaknesses=find_weaknesses(entries),
        next_drill=choose_drill(trends),
    )


async def rebuild_progress(deps: Deps) -> str:
    """Compute the progress and question keys of all users again from their sessions.

    May run while the service is running, and may be repeated.
    """
    users = sessions = 0
    last_user_id = UUID(int=0)
    while True:
        async with deps.db.read_only() as tx:
            user_id = await progress_store.find_next_user(tx, last_user_id)
        if user_id is None:
            return f"Rebuilt the progress of {users} users from {sessions} sessions."
        sessions += await _rebuild_user(deps, user_id)
        users += 1
        last_user_id = user_id


async def _rebuild_user(deps: Deps, user_id: UUID) -> int:
    """Rebuild the progress of one user. Returns the number of sessions."""
    count, position = 0, None
    while True:
        async with deps.db.read_only() as tx:
            batch = await progress_store.list_session_ids(
                tx, user_id, position=position, limit=_REBUILD_BATCH_SIZE
            )
        if not batch:
            await _retry_conflicts(partial(_recount_user, deps, user_id))
            return count
        for _, session_id in batch:
            await _retry_conflicts(partial(_rebuild_session, deps, user_id, session_id))
        count, position = count + len(batch), batch[-1]


async def _rebuild_session(deps: Deps, user_id: UUID, session_id: UUID) -> None:
    # One session per transaction: events lock a session before the counts of its user.
    async with deps.db.transaction(is_durable=False) as tx:
        session = await store.lock_session(tx, session_id, user_id=user_id)
        if session is not None:
            await progress_store.update_question_key(tx, session)
            await progress_store.update_progress(tx, session)


async def _recount_user(deps: Deps, user_id: UUID) -> None:
    async with deps.db.transaction() as tx:
        await progress_store.recount_practice(tx, user_id)


async def _retry_conflicts(run: Callable[[], Awaitable[None]]) -> None:
    """Run a transaction, and again if another one won.

    Raises:
        TransactionConflict: If another one won each time.
    """
    for remaining in reversed(range(_REBUILD_TRIES)):
        try:
            await run()
        except TransactionConflict:
            if not remaining:
                raise
            log.info("progress.rebuild_repeated", remaining=remaining)
        else:
            return


async def _list_streak_days(
    tx: Transaction, user_id: UUID, now: datetime, zone: tzinfo
) -> tuple[list[PracticeDay], set[date]]:
    """Return the newest practice days and their local dates.

    These are at least the last month and the whole current streak.

    The streak is read in batches until a day without practice is found.
    """
    today = now.astimezone(zone).date()
    days: list[PracticeDay] = []
    dates: set[date] = set()
    before_day = (now - _EPOCH).days + 2
    while True:
        batch = await progress_store.list_practice_days(
            tx, user_id, before_day=before_day, limit=_STREAK_BATCH_DAYS
        )
        days += batch
        for day in batch:
            dates |= day.list_local_dates(zone)
        streak = count_streak(dates, today)
        if len(batch) < _STREAK_BATCH_DAYS or streak.days >= MAX_STREAK_DAYS:
            return days, dates
        before_day = batch[-1].day
        first_missing = today - timedelta(
            days=streak.days + (0 if streak.has_practised_today else 1)
        )
        # A local date has parts of at most two UTC days, one of which has its number.
        if before_day <= (first_missing - _EPOCH.date()).days - 1:
            return days, dates
