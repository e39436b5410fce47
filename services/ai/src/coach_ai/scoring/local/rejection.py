"""Rejection of answers that the local scorer cannot score."""

import re
from dataclasses import dataclass, replace

from coach_ai.domain import Answer
from coach_ai.embeddings import Embeddings
from coach_ai.scoring.answer_validation import rejection_reason
from coach_ai.scoring.local.dimensions.relevance import relevance
from coach_ai.scoring.local.parsed_answer import ParsedAnswer
from coach_ai.scoring.local.question_ranking import share_of_closer_questions
from coach_ai.scoring.local.story_parts import Story

_MAX_RELEVANCE_FOR_REJECTION = 0.5
"""Above this relevance, an answer is never rejected as an answer to a different question."""
_MIN_CLOSER_SHARE = 0.5
"""Share of reference questions that must be closer to the answer than its own. High, because a
wrong rejection is worse than a missed one."""
_FIRST_PERSON = re.compile(r"\b(i|i'm|i'd|i've|my|me|we|we'd|we've|our|us)\b")
_MIN_FIRST_PERSON_SHARE = 1 / 4

_NOT_OWN_EXPERIENCE = (
    "This does not answer the question. It asks for your own experience, and nothing here describes"
    " one."
)
_NOT_RELATED = "This does not address the question and does not describe anything you did."
_DIFFERENT_QUESTION = (
    "This seems to answer a different question. If it is meant for this one, begin by saying how it"
    " answers it."
)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an answer is not scored, and a sentence that shows it, or None."""

    reason: str
    quote: str | None = None


def find_rejection(
    answer: Answer,
    question_type: str,
    parsed: ParsedAnswer,
    story: Story,
    embedder: Embeddings | None,
) -> Rejection | None:
    """Return why the answer cannot be scored, or None if it can.

    Answers to general questions ("Why should we hire you?") are never rejected as off topic,
    because anything about oneself may answer them.
    """
    counted = " ".join(one.sentence.text for one in parsed.sentences)
    if (reason := rejection_reason(replace(answer, text=counted))) is not None:
        return Rejection(reason)
    if not answer.question or question_type == "general":
        return None
    reason = None
    relevance_share = relevance(answer.question, parsed.informative_text)
    if question_type == "behavioural" and not _is_own_experience(parsed, story):
        reason = _NOT_OWN_EXPERIENCE
    elif question_type == "behavioural" and not story.steps and relevance_share == 0:
        reason = _NOT_RELATED
    elif (
        embedder is not None
        and relevance_share <= _MAX_RELEVANCE_FOR_REJECTION
        and share_of_closer_questions(answer.question, parsed, embedder) > _MIN_CLOSER_SHARE
    ):
        reason = _DIFFERENT_QUESTION
    return None if reason is None else Rejection(reason, parsed.sentences[0].sentence.text)


def _is_own_experience(parsed: ParsedAnswer, story: Story) -> bool:
    """True if the answer uses the first person, either often enough or in a story."""
    first_person = [one for one in parsed.sentences if _FIRST_PERSON.search(" ".join(one.tokens))]
    has_story_part = any(story.parts[part] for part in ("situation", "task", "action"))
    is_frequent = len(first_person) >= len(parsed.sentences) * _MIN_FIRST_PERSON_SHARE
    return bool(first_person) and (is_frequent or has_story_part)
