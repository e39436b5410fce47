"""Reference questions: what interviewers commonly ask, each with two sentences of an answer."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml


@dataclass(frozen=True, slots=True)
class ReferenceQuestion:
    """A common question and two sentences that answer it."""

    question: str
    answers: tuple[str, str]


@cache
def load_reference_questions() -> tuple[ReferenceQuestion, ...]:
    """Return the reference questions."""
    text = (files("coach_ai.questions") / "reference_questions.yaml").read_text("utf-8")
    return tuple(
        ReferenceQuestion(one["question"], (one["answers"][0], one["answers"][1]))
        for one in yaml.safe_load(text)
    )
