"""The questions that a session can ask."""

import asyncio
from uuid import UUID

from coach_ai.deps import Deps
from coach_ai.domain import Question, QuestionNotFound
from coach_ai.questions.question_bank import load_question_bank
from coach_common.identity import Identity


async def get_question(deps: Deps, caller: Identity, question_id: str) -> Question:
    """Return a question of the bank.

    Raises:
        QuestionNotFound: If it does not exist.
    """
    question = await find_question(deps, caller.user_id, question_id)
    if question is None:
        raise QuestionNotFound
    return question


async def find_question(deps: Deps, user_id: UUID, question_id: str) -> Question | None:
    """Return a question of the bank, or None."""
    # The first call reads the bank's files.
    bank = await asyncio.to_thread(load_question_bank)
    return bank.get(question_id)
