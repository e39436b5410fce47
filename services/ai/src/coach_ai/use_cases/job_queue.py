"""Queues jobs in a transaction, and wakes the workers of this process after its commit."""

from functools import partial
from uuid import UUID

from coach_ai.deps import Deps
from coach_ai.domain import JobKind
from coach_ai.store import jobs
from coach_common.db.transaction import Transaction


async def queue_job(
    deps: Deps, tx: Transaction, kind: JobKind, subject_id: UUID, user_id: UUID
) -> None:
    """Queue a job. If it is queued already, reschedule it to run now.

    A worker of this process that waits for a job gets it, claimed in this transaction.
    """
    worker = None if deps.drain.is_closed else deps.idle_workers[kind].reserve()
    if worker is None:
        await jobs.add_job(tx, kind, subject_id, user_id)
        tx.after_commit(partial(deps.notify_workers, kind))
        return
    tx.after_rollback(partial(worker.give, None))
    job = await jobs.add_claimed_job(tx, kind, subject_id, user_id, owner=worker.instance_id)
    if job is None:
        await jobs.reschedule_now(tx, kind, subject_id)
    elif worker.write_claim is not None:
        await worker.write_claim(tx, job)
    tx.after_commit(partial(worker.give, job))


async def queue_missing_job(
    deps: Deps, tx: Transaction, kind: JobKind, subject_id: UUID, user_id: UUID
) -> bool:
    """Queue a job. Return False if it is queued already; it is not changed then."""
    is_new = await jobs.add_missing_job(tx, kind, subject_id, user_id)
    tx.after_commit(partial(deps.notify_workers, kind))
    return is_new


async def run_now(deps: Deps, tx: Transaction, kind: JobKind, subject_id: UUID) -> None:
    """Run a waiting job now, and restart its 24 h retry window. A running job is not changed."""
    await jobs.reschedule_now(tx, kind, subject_id)
    tx.after_commit(partial(deps.notify_workers, kind))


async def run_all_now(deps: Deps, tx: Transaction, user_id: UUID) -> None:
    """Run all waiting jobs of a user now, and restart their 24 h retry window."""
    await jobs.reschedule_all_now(tx, user_id)
    tx.after_commit(deps.notify_workers)
