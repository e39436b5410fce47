"""Notes that a real interviewer asked a question of the bank, and their counts."""

from uuid import UUID

from prometheus_client import Counter

from coach_ai.deps import Deps
from coach_ai.domain.interview_notes import InterviewNote, OwnQuestionHasNoNote
from coach_ai.store import consents, deletion, interview_notes
from coach_ai.use_cases.questions import get_question
from coach_common.db.database import Database
from coach_common.db.transaction import Transaction
from coach_common.errors import Unauthenticated
from coach_common.identity import Identity

NOTE_CHANGES = Counter(
    "coach_ai_interview_note_changes", "Changes of notes of real interviews.", ["change"]
)


async def save_note(
    deps: Deps, caller: Identity, question_id: str, note: InterviewNote
) -> InterviewNote:
    """Note that a real interviewer asked a question of the bank. Replaces an earlier note.

    Raises:
        QuestionNotFound: If it does not exist or belongs to another user.
        OwnQuestionHasNoNote: If it is a question of the caller.
        Unauthenticated: If the account was deleted; an access token may outlive it.
    """
    question = await get_question(deps, caller, question_id)
    if question.owner_id is not None:
        raise OwnQuestionHasNoNote
    async with deps.db.transaction() as tx:
        is_counted = await _lock_consent(tx, caller.user_id)
        is_new = await interview_notes.save_note(tx, caller.user_id, question.id, note)
        if is_new and is_counted:
            await interview_notes.change_people(tx, [question.id], by=1)
    NOTE_CHANGES.labels("saved").inc()
    return note


async def delete_note(deps: Deps, caller: Identity, question_id: str) -> None:
    """Delete the caller's note of a question. Does nothing if there is none.

    Raises:
        Unauthenticated: If the account was deleted; an access token may outlive it.
    """
    async with deps.db.transaction() as tx:
        is_counted = await _lock_consent(tx, caller.user_id)
        is_known = await interview_notes.delete_note(tx, caller.user_id, question_id)
        if is_known and is_counted:
            await interview_notes.change_people(tx, [question_id], by=-1)
    NOTE_CHANGES.labels("deleted").inc()


async def rebuild_counts(database: Database) -> str:
    """Compute again how many people noted each question."""
    async with database.read_only() as tx:
        question_ids = await interview_notes.list_counted_questions(tx)
    corrected = 0
    for question_id in question_ids:
        async with database.transaction() as tx:
            corrected += await interview_notes.recount(tx, question_id)
    return f"{len(question_ids)} questions were counted, {corrected} counts were wrong."


async def _lock_consent(tx: Transaction, user_id: UUID) -> bool:
    """Lock the consent to improvement until the commit, and return whether it is given."""
    is_given = await consents.lock_improvement_consent(tx, user_id)
    if await deletion.is_deleted(tx, user_id):
        raise Unauthenticated("This account no longer exists.", code="account_deleted")
    return is_given
