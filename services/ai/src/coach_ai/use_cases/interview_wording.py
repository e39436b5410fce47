"""Words a turn of the interviewer: by a language model if it can, else by rule."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from prometheus_client import Counter

from coach_ai.chat.sanitizer import sanitize
from coach_ai.deps import Deps
from coach_ai.interview.model import Gap, WordingMethod
from coach_ai.interview.rule_interviewer import RuleInterviewer, TurnToWord
from coach_ai.scoring.answer_validation import strip_injections
from coach_ai.token_usage import TokenUsage
from coach_ai.use_cases import budget
from coach_ai.use_cases.interview_verification import (
    VerifiedWording,
    WordingRejected,
    verify_wording,
)
from coach_common import logs
from coach_common.errors import TooManyRequests, Unavailable

log = logs.get_logger(__name__)

WORDINGS = Counter(
    "coach_ai_interview_wordings",
    "Turns of interviewers by how they were worded, or why not by the language model.",
    ["outcome"],
)

_RULES = RuleInterviewer()


@dataclass(frozen=True, slots=True)
class WordedTurn:
    """The words of a turn, the gap that they probe, and how they were made."""

    text: str
    gap: Gap | None
    method: WordingMethod


async def word_turn(deps: Deps, user_id: UUID, turn: TurnToWord) -> WordedTurn:
    """Return the words of a turn.

    A language model words reactions to answers, within the user's daily budget. The rules word all
    other turns, and those that the model cannot word: without consent or budget, if it fails, and
    if its words are not acceptable. A spent budget is no error, because the answer is scored.
    """
    if _is_for_model(turn) and deps.interviewer.method is WordingMethod.LANGUAGE_MODEL:
        try:
            found = await _word_by_model(deps, user_id, turn)
        except WordingRejected as error:
            outcome = str(error.reason)
        except TooManyRequests:
            outcome = "budget_spent"
        except Unavailable:
            outcome = "unavailable"
        else:
            WORDINGS.labels("language_model").inc()
            return WordedTurn(found.text, found.gap, WordingMethod.LANGUAGE_MODEL)
        log.info("interview.worded_by_rule", reason=outcome)
    else:
        outcome = "rules"
    WORDINGS.labels(outcome).inc()
    text = sanitize(await _RULES.word_turn(turn, TokenUsage()))
    return WordedTurn(text, turn.decision.gap, WordingMethod.RULES)


def _is_for_model(turn: TurnToWord) -> bool:
    """Return True for a reaction, unless the passage to quote instructs a model."""
    gap = turn.decision.gap
    return turn.is_reaction and (gap is None or strip_injections(gap.quote) == gap.quote)


async def _word_by_model(deps: Deps, user_id: UUID, turn: TurnToWord) -> VerifiedWording:
    max_tokens = deps.interviewer.max_tokens_needed(turn)
    async with budget.reserve_budget(deps, user_id, "interviewer", max_tokens) as usage:
        text = await deps.interviewer.word_turn(turn, usage)
    return await asyncio.to_thread(verify_wording, turn, text)
