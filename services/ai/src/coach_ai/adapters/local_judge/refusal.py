"""When an answer cannot be judged, and why."""

import re
from dataclasses import replace

from coach_ai.adapters.embeddings import Embeddings
from coach_ai.adapters.local_judge.nearness import others_nearer
from coach_ai.adapters.local_judge.reading import Reading
from coach_ai.adapters.local_judge.relevance import relevance
from coach_ai.adapters.local_judge.star import Story
from coach_ai.domain import Answer
from coach_ai.no_answer import why_none

_LITTLE = 0.5
"""Above this, an answer says too much of the question's words or theme to be about another."""
_MOST = 0.5
"""The share of other questions that must be nearer: whoever answered must not be told otherwise."""
_FIRST_PERSON = re.compile(r"\b(i|i'm|i'd|i've|my|me|we|we'd|we've|our|us)\b")


def why_not(
    answer: Answer, kind: str, reading: Reading, story: Story, meaning: Embeddings | None
) -> tuple[str | None, str | None]:
    """Return why the answer cannot be judged, with the words that show it."""
    counted = " ".join(one.sentence.text for one in reading.said)
    if (reason := why_none(replace(answer, text=counted))) is not None:
        return (reason, None)
    # A question like "why you?" may be answered with anything about oneself.
    if not answer.question or kind == "general":
        return (None, None)
    reason = None
    about = relevance(answer.question, reading.telling)
    if kind == "behavioural" and not _is_own(reading, story):
        reason = (
            "This does not answer the question: it asks for something you yourself lived through,"
            " and nothing here is told as your own experience."
        )
    elif kind == "behavioural" and not story.steps and about == 0:
        reason = (
            "This speaks of something else: nothing in it has to do with the question, and it tells"
            " nothing that you did."
        )
    elif (
        meaning is not None
        and about <= _LITTLE
        and others_nearer(answer.question, reading, meaning) > _MOST
    ):
        reason = (
            "This seems to answer another question: most that interviewers ask is nearer to it than"
            " what was asked. If it is meant for this one, begin by saying how it answers it."
        )
    return (None, None) if reason is None else (reason, reading.said[0].sentence.text)


def _is_own(reading: Reading, story: Story) -> bool:
    """Tell whether somebody speaks of himself, at least now and then or in telling a case."""
    is_mine = [one for one in reading.said if _FIRST_PERSON.search(" ".join(one.tokens))]
    is_told = any(story.parts[part] for part in ("situation", "task", "action"))
    return bool(is_mine) and (len(is_mine) * 4 >= len(reading.said) or is_told)
