"""Scores the answers of an interview by the scorer of all answers."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from coach_ai.consent import current_provider
from coach_ai.deps import Deps
from coach_ai.domain import Answer, CannotScore, Feedback
from coach_ai.interview.flow import list_answer_turns
from coach_ai.interview.model import Interview, PlannedQuestion, Turn
from coach_ai.interview.own_voice import read_spoken_answer
from coach_ai.scoring.set_aside import set_aside_non_answer
from coach_ai.store import recordings
from coach_ai.use_cases import budget
from coach_ai.use_cases.accommodations import apply_accommodations


async def build_answer(
    deps: Deps,
    interview: Interview,
    planned: PlannedQuestion,
    turns: Sequence[Turn],
    number: int,
    text: str,
) -> Answer:
    """Return the stored answer to a question for the scorer, with its recording if it has one."""
    parts = [turn for turn in list_answer_turns(turns, number) if turn.message]
    spoken = None
    if len(parts) == 1 and (key := parts[0].audio_s3_key) is not None:
        async with deps.db.read_only() as tx:
            recording = await recordings.find_recording_by_key(tx, key, user_id=interview.user_id)
        if recording is not None and recording.transcript is not None:
            earlier = [turn for turn in turns if turn.number < parts[0].number]
            asked = replace(interview, question_number=number)
            spoken = await asyncio.to_thread(
                read_spoken_answer, asked, earlier, recording.transcript
            )
    return make_answer(interview, planned, text, spoken)


def make_answer(
    interview: Interview, planned: PlannedQuestion, text: str, spoken: Answer | None
) -> Answer:
    """Return an answer for the scorer. An answer of several parts is scored by its text.

    `spoken` is what the recording of its last part contains, or None if that part is text.
    """
    question = planned.question
    if spoken is not None and spoken.text == text:
        answer = spoken
    else:
        answer = Answer(interview.setup.title, question.text, text)
    return replace(
        answer,
        reference=question,
        seniority=interview.setup.seniority,
        role=interview.setup.role or None,
    )


async def score_answer(deps: Deps, user_id: UUID, answer: Answer) -> Feedback:
    """Return the feedback of an answer, within the user's daily budget.

    An answer that the provider refuses for good gets no scores, with the reason.

    Raises:
        TooManyRequests: If the budget is spent.
        Unavailable: If the provider cannot score now.
    """
    answer = set_aside_non_answer(await apply_accommodations(deps, user_id, answer))
    max_tokens = deps.scorer.max_tokens_needed(answer)
    async with budget.reserve_budget(deps, user_id, "interview", max_tokens) as usage:
        try:
            return await deps.scorer.score(answer, usage)
        except CannotScore as error:
            return Feedback(
                None,
                None,
                None,
                None,
                (),
                str(error),
                current_provider(deps.provider),
                usage.model,
                rubric_version="",
            )
