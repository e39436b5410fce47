"""The sets of questions that ship: `sets.yaml`, validated and loaded once."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import yaml

from coach_ai.questions.question_bank import load_question_bank


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions of the bank to practise together, in their order."""

    id: str
    title: str
    minutes: int
    question_ids: tuple[str, ...]


def parse_sets(entries: Any) -> tuple[QuestionSet, ...]:
    """Return the sets of the parsed file.

    Raises:
        ValueError: If a set or a question repeats, or a question is not in the bank.
    """
    bank = load_question_bank()
    sets = tuple(
        QuestionSet(one["id"], one["title"], int(one["minutes"]), tuple(one["questions"]))
        for one in entries
    )
    if len({one.id for one in sets}) != len(sets):
        raise ValueError("the id of a set repeats")
    for one in sets:
        if len(set(one.question_ids)) != len(one.question_ids):
            raise ValueError(f"{one.id}: a question repeats")
        if unknown := [name for name in one.question_ids if name not in bank]:
            raise ValueError(f"{one.id}: not in the bank: {', '.join(unknown)}")
    return sets


@cache
def load_question_sets() -> Mapping[str, QuestionSet]:
    """Return the sets by id, in the order of the file. Raises ValueError if it is invalid."""
    text = (files("coach_ai.questions") / "sets.yaml").read_text("utf-8")
    return MappingProxyType({one.id: one for one in parse_sets(yaml.safe_load(text))})
