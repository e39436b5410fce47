"""The question bank that ships: YAML files in `bank`, validated and loaded once."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from coach_ai.domain import (
    ExpectedPoint,
    Importance,
    Misconception,
    Question,
    QuestionType,
    Seniority,
)

MIN_POINTS = 4
MAX_POINTS = 8
MIN_MISCONCEPTIONS = 2

_TYPES = {
    "behavioral": QuestionType.STORY,
    "technical": QuestionType.KNOWLEDGE,
    "system_design": QuestionType.CASE,
}
"""Question types of the files. `general` questions name theirs as `subtype`."""

_Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=8, max_length=300)]


class _BankModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Point(_BankModel):
    id: _Slug
    text: _Text
    importance: Importance
    accepted: tuple[_Text, ...] = Field(min_length=1)
    not_: tuple[_Text, ...] = Field(default=(), alias="not")


class _Misconception(_BankModel):
    id: _Slug
    text: _Text
    wordings: tuple[_Text, ...] = Field(min_length=1)


class _Question(_BankModel):
    id: _Slug
    text: _Text
    type: Literal["behavioral", "technical", "system_design", "general"]
    subtype: Literal[QuestionType.MOTIVE, QuestionType.ABOUT_YOU] | None = None
    field: _Slug | None = None
    seniority: tuple[Seniority, ...] = Field(min_length=1)
    tags: tuple[_Slug, ...] = Field(min_length=1)
    looks_for: tuple[_Text, ...] = ()
    points: tuple[_Point, ...] = Field(default=(), max_length=MAX_POINTS)
    misconceptions: tuple[_Misconception, ...] = ()

    @model_validator(mode="after")
    def _check_type(self) -> Self:
        if (self.type == "general") != (self.subtype is not None):
            raise ValueError("general questions, and only they, have a subtype")
        has_points = self.type in ("technical", "system_design")
        if has_points and (
            self.field is None
            or len(self.points) < MIN_POINTS
            or len(self.misconceptions) < MIN_MISCONCEPTIONS
        ):
            raise ValueError(
                f"technical and system_design questions have a field, {MIN_POINTS} points and"
                f" {MIN_MISCONCEPTIONS} misconceptions or more"
            )
        if not has_points and (self.field or self.points or self.misconceptions):
            raise ValueError("only technical and system_design questions have a field and points")
        return self

    @model_validator(mode="after")
    def _check_ids(self) -> Self:
        ids = [one.id for one in self.points] + [one.id for one in self.misconceptions]
        if len(set(ids)) != len(ids):
            raise ValueError("ids of points and misconceptions repeat")
        return self

    def to_domain(self) -> Question:
        return Question(
            id=self.id,
            text=self.text,
            type=self.subtype or _TYPES[self.type],
            field=self.field,
            seniority=self.seniority,
            tags=self.tags,
            looks_for=self.looks_for,
            points=tuple(
                ExpectedPoint(one.id, one.text, one.importance, one.accepted, one.not_)
                for one in self.points
            ),
            misconceptions=tuple(
                Misconception(one.id, one.text, one.wordings) for one in self.misconceptions
            ),
        )


def parse_questions(entries: Any) -> tuple[Question, ...]:
    """Return the questions of one parsed file.

    Raises:
        ValueError: If an entry is invalid. The message names the field and the reason.
    """
    if not isinstance(entries, list):
        raise ValueError("a bank file is a list of questions")
    return tuple(_Question.model_validate(one).to_domain() for one in entries)


@cache
def load_question_bank() -> Mapping[str, Question]:
    """Return the questions of the bank by id, in the order of their files.

    Raises:
        ValueError: If a file is invalid or an id repeats.
    """
    bank: dict[str, Question] = {}
    folder = files("coach_ai.questions") / "bank"
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if not file.name.endswith(".yaml"):
            continue
        # The C loader is five times as fast as `safe_load`, and as safe.
        entries = yaml.load(file.read_text("utf-8"), Loader=yaml.CSafeLoader)
        for question in parse_questions(entries):
            if question.id in bank:
                raise ValueError(f"{file.name}: the id {question.id} repeats")
            bank[question.id] = question
    return MappingProxyType(bank)
