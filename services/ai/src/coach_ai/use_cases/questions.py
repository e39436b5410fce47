"""The questions that a session can ask: the bank, and users' own questions."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

from prometheus_client import Counter

from coach_ai.deps import Deps
from coach_ai.domain import AskedQuestion, Question, QuestionNotFound, QuestionPage, QuestionQuery
from coach_ai.domain.bookmarks import Bookmark
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.store import bookmarks, deletion, interview_notes, practice, questions
from coach_common import logs
from coach_common.db.transaction import Transaction
from coach_common.errors import InvalidInput, Unauthenticated
from coach_common.identity import Identity
from coach_common.ids import new_id

log = logs.get_logger(__name__)

OWN_QUESTION_CHANGES = Counter(
    "coach_ai_own_question_changes", "Changes of users' own questions.", ["change"]
)
REFERENCES = Counter(
    "coach_ai_references",
    "Question ids of sessions: copied for the scorer, or missing because they were deleted.",
    ["outcome"],
)


async def list_questions(
    deps: Deps,
    caller: Identity,
    query: QuestionQuery,
    *,
    limit: int,
    after: str | None,
    is_most_asked_first: bool = False,
) -> QuestionPage:
    """Return the caller's own questions, newest first, then those of the bank in fixed order.

    With `is_most_asked_first`, the questions that people noted come before both, most people first.

    Raises:
        InvalidInput: If `after` is not the id of a question.
    """
    bank = await _load_bank()
    async with deps.db.read_only() as tx:
        own = await questions.list_own_questions(tx, caller.user_id)
        bank = await annotate(tx, caller.user_id, bank)
        asked = [one for one in bank.values() if is_most_asked_first and one.asked_people]
        asked.sort(key=lambda one: -(one.asked_people or 0))
        candidates = _list_after(after, asked, own, bank)
        found = [question for question in candidates if question.matches(query)]
        if query.has_bookmark_condition:
            all_marked = await bookmarks.list_all_bookmarks(tx, caller.user_id)
            found = [one for one in found if query.matches_bookmark(all_marked.get(one.id))]
        page = found[:limit]
        marked = await bookmarks.list_bookmarks(tx, caller.user_id, [one.id for one in page])
    return QuestionPage(page, page[-1].id if len(found) > limit else None, marked)


async def annotate(
    tx: Transaction, user_id: UUID, bank: Mapping[str, Question]
) -> dict[str, Question]:
    """Return the questions of the bank with the user's notes, and how many people noted them."""
    notes = await interview_notes.list_notes(tx, user_id)
    people = await interview_notes.list_shown_people(tx)
    annotated = dict(bank)
    for question_id in bank.keys() & (notes.keys() | people.keys()):
        note = notes.get(question_id)
        annotated[question_id] = replace(
            bank[question_id],
            asked_at=None if note is None else note.asked_at,
            asked_by=None if note is None else note.asked_by,
            asked_people=people.get(question_id),
        )
    return annotated


async def get_marked_question(
    deps: Deps, caller: Identity, question_id: str
) -> tuple[Question, Bookmark | None]:
    """Return a question with its note and its bookmark. Raises as `get_question`."""
    question = await get_question(deps, caller, question_id)
    async with deps.db.read_only() as tx:
        if question.owner_id is None:
            question = (await annotate(tx, caller.user_id, {question.id: question}))[question.id]
        marked = await bookmarks.list_bookmarks(tx, caller.user_id, [question.id])
    return question, marked.get(question.id)


async def get_question(deps: Deps, caller: Identity, question_id: str) -> Question:
    """Return a question of the bank or of the caller.

    Raises:
        QuestionNotFound: If it does not exist or belongs to another user.
    """
    question = await _find_question(deps, caller.user_id, question_id)
    if question is None:
        raise QuestionNotFound
    return question


async def create_question(deps: Deps, caller: Identity, content: Question) -> Question:
    """Store a question of the caller. The id and owner of `content` are ignored.

    Raises:
        TooManyQuestions: If the caller has the maximum number of questions.
        Unauthenticated: If the account was deleted; an access token may outlive it.
    """
    question_id = new_id()
    question = replace(content, id=str(question_id), owner_id=caller.user_id)
    async with deps.db.transaction() as tx:
        if await deletion.is_deleted(tx, caller.user_id):
            raise Unauthenticated("This account no longer exists.", code="account_deleted")
        await questions.add_own_question(tx, question_id, caller.user_id, question, at=deps.clock())
    OWN_QUESTION_CHANGES.labels("created").inc()
    return question


async def update_question(
    deps: Deps, caller: Identity, question_id: str, content: Question
) -> Question:
    """Replace a question of the caller. Sessions that exist keep the former one.

    Raises:
        QuestionNotFound: If it does not exist, is in the bank, or belongs to another user.
    """
    own_id = _parse_own_id(question_id)
    question = replace(content, id=str(own_id), owner_id=caller.user_id)
    async with deps.db.transaction() as tx:
        await questions.update_own_question(tx, own_id, caller.user_id, question, at=deps.clock())
    OWN_QUESTION_CHANGES.labels("updated").inc()
    return question


async def delete_question(deps: Deps, caller: Identity, question_id: str) -> None:
    """Delete a question of the caller. Sessions that exist keep it.

    Raises:
        QuestionNotFound: If it does not exist, is in the bank, or belongs to another user.
    """
    own_id = _parse_own_id(question_id)
    async with deps.db.transaction() as tx:
        await questions.delete_own_question(tx, own_id, caller.user_id)
        await practice.erase_question(tx, str(own_id), caller.user_id)
        await bookmarks.delete_bookmark(tx, str(own_id), caller.user_id)
    OWN_QUESTION_CHANGES.labels("deleted").inc()


async def copy_reference(deps: Deps, user_id: UUID, asked: AskedQuestion) -> AskedQuestion:
    """Return `asked` with a copy of its question, if it names one that exists."""
    if asked.question_id is None:
        return asked
    reference = await _find_question(deps, user_id, asked.question_id)
    REFERENCES.labels("missing" if reference is None else "copied").inc()
    if reference is None:
        log.warning("question.reference_missing", question_id=asked.question_id)
    return replace(asked, reference=reference)


async def _find_question(deps: Deps, user_id: UUID, question_id: str) -> Question | None:
    try:
        own_id = UUID(question_id)
    except ValueError:
        return (await _load_bank()).get(question_id)
    async with deps.db.read_only() as tx:
        return await questions.find_own_question(tx, own_id, user_id)


async def _load_bank() -> Mapping[str, Question]:
    # The first call reads the files of the bank.
    return await asyncio.to_thread(load_question_bank)


def _list_after(
    after: str | None, asked: list[Question], own: list[Question], bank: Mapping[str, Question]
) -> list[Question]:
    """Return `asked`, then the other questions, from behind the one with id `after`."""
    ids = [one.id for one in asked]
    if after in ids:
        asked, after = asked[ids.index(after) + 1 :], None
    elif after is not None:
        asked = []
    others = [*own, *bank.values()] if after is None else _skip_to(after, own, bank)
    return [*asked, *(one for one in others if one.id not in ids)]


def _skip_to(after: str, own: list[Question], bank: Mapping[str, Question]) -> list[Question]:
    """Return the questions that follow the one with id `after`, which may be deleted by now."""
    try:
        last_id = str(UUID(after))
    except ValueError:
        ids = list(bank)
        if after not in bank:
            raise InvalidInput("cursor: invalid") from None
        return [bank[one] for one in ids[ids.index(after) + 1 :]]
    return [one for one in own if one.id < last_id] + list(bank.values())


def normalize_question_id(question_id: str) -> str:
    """Return the spelling of a question's id that is stored."""
    try:
        return str(UUID(question_id))
    except ValueError:
        return question_id


def _parse_own_id(question_id: str) -> UUID:
    try:
        return UUID(question_id)
    except ValueError:
        raise QuestionNotFound from None
