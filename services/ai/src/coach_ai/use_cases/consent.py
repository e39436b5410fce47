"""What users have agreed to: stored, and applied to requests, jobs and counts."""

from uuid import UUID

from coach_ai.consent import set_outside_provider_allowed
from coach_ai.deps import Deps
from coach_ai.store import consents, deletion, interview_notes
from coach_ai.use_cases.job_queue import run_all_now
from coach_common.db.transaction import MessageContext
from coach_common.events.consents import ConsentChanged
from coach_common.repair import REPAIRS


async def apply_consent(deps: Deps, user_id: UUID) -> None:
    """Allow or forbid the outside provider for the rest of this request or job.

    Reads nothing if no outside provider is configured.
    """
    if not deps.consent.has_outside_provider:
        return
    set_outside_provider_allowed(False)
    async with deps.db.read_only() as tx:
        is_given = await consents.find_consent(tx, user_id)
    set_outside_provider_allowed(not deps.consent.is_opt_in if is_given is None else is_given)


async def record_consent(deps: Deps, event: ConsentChanged, message: MessageContext) -> None:
    """Store a decision about outside providers, unless a later one is stored.

    The jobs of a user who has agreed run at once: they may have waited for it.
    """
    user_id, is_given = event.user_id, event.is_given
    async with deps.db.transaction(deduplicate=message) as tx:
        if await deletion.is_deleted(tx, user_id):
            return
        is_new = await consents.save_consent(
            tx, user_id, is_given=is_given, changed_at=event.changed_at
        )
        if is_new and is_given:
            await run_all_now(deps, tx, user_id)
    _count_repair(event, is_new=is_new)


async def record_improvement_consent(
    deps: Deps, event: ConsentChanged, message: MessageContext
) -> None:
    """Store a decision about improvement, unless a later one is stored.

    The notes of the user are counted from an agreement until a withdrawal.
    """
    user_id, is_given = event.user_id, event.is_given
    async with deps.db.transaction(deduplicate=message) as tx:
        was_given = await consents.lock_improvement_consent(tx, user_id)
        if await deletion.is_deleted(tx, user_id):
            await consents.delete_improvement_consent(tx, user_id)
            return
        is_new = await consents.save_improvement_consent(
            tx, user_id, is_given=is_given, changed_at=event.changed_at
        )
        if is_new and is_given != was_given:
            noted = await interview_notes.list_notes(tx, user_id)
            await interview_notes.change_people(tx, noted, by=1 if is_given else -1)
    _count_repair(event, is_new=is_new)


def _count_repair(event: ConsentChanged, *, is_new: bool) -> None:
    """Count a decision that only its repeated event has brought."""
    if is_new and event.is_repeated:
        REPAIRS.labels("ai", "consent").inc()
