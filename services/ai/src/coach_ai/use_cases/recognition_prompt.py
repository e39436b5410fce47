"""What is known about an answer before it is transcribed."""

from collections.abc import Sequence
from uuid import UUID

from coach_ai.interview.own_voice import list_spoken_texts
from coach_ai.store import interviews, questions
from coach_ai.vocabulary import build_prompt
from coach_common.db.transaction import Transaction


async def build_session_prompt(tx: Transaction, session_id: UUID | None, *, user_id: UUID) -> str:
    """Return the recogniser's prompt for a recording of this session.

    Without a session, or if its question is not known yet, it has general terms only.
    """
    if session_id is None:
        return build_prompt(None)
    asked = await questions.find_asked_question(tx, session_id, user_id=user_id)
    return build_prompt(None) if asked is None else build_prompt(asked.question, asked.role)


async def find_spoken_texts(
    tx: Transaction, session_id: UUID | None, *, user_id: UUID
) -> Sequence[str] | None:
    """Return what the interviewer speaks before an answer, or None if this is no interview."""
    if session_id is None:
        return None
    try:
        interview = await interviews.get_interview(tx, session_id, user_id=user_id)
    except interviews.InterviewNotFound:
        return None
    turns = await interviews.list_turns(tx, session_id)
    return list_spoken_texts(interview, turns)
