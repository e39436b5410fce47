"""Styles of kinds of companies: what they value, their rounds, and how deep they ask."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from coach_ai.interview.model import MAX_FOLLOW_UPS, CompanyStyle, InterviewType

_DEFAULT_DEPTH = 1


@dataclass(frozen=True, slots=True)
class Round:
    """A part of an interview. `competences` are tags or fields of the question bank."""

    name: str
    questions: int
    competences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StyleDescription:
    """A style. `depth` is how often a question is followed up for depth."""

    title: str
    values: tuple[str, ...]
    depth: int
    rounds: Mapping[InterviewType, tuple[Round, ...]]


@cache
def load_company_styles() -> Mapping[CompanyStyle, StyleDescription]:
    """Return the styles that ship.

    Raises:
        KeyError: If a style, or a type of interview in it, is missing.
        ValueError: If a depth is not 0 to 2, or if a round has no question or no competence.
    """
    text = (files("coach_ai.interview") / "company_styles.yaml").read_text("utf-8")
    found = yaml.safe_load(text)
    return {style: _parse_style(found[style]) for style in CompanyStyle}


def _parse_style(entry: Mapping[str, object]) -> StyleDescription:
    rounds, depth, values = entry["rounds"], entry["depth"], entry["values"]
    if not isinstance(depth, int) or not 0 <= depth <= MAX_FOLLOW_UPS:
        raise ValueError(f"depth is 0 to {MAX_FOLLOW_UPS}")
    if not isinstance(rounds, dict) or not isinstance(values, list):
        raise ValueError("rounds is a mapping and values is a list")
    return StyleDescription(
        title=str(entry["title"]),
        values=tuple(map(str, values)),
        depth=depth,
        rounds={
            one: tuple(
                _parse_round(round_["name"], round_["questions"], round_["competences"])
                for round_ in rounds[one]
            )
            for one in InterviewType
        },
    )


def _parse_round(name: str, questions: int, competences: list[str]) -> Round:
    if questions < 1 or not competences:
        raise ValueError(f"the round {name} has no question or no competence")
    return Round(name, questions, tuple(competences))


def get_depth(style: CompanyStyle | None) -> int:
    """Return how often a question is followed up for depth. Without a style it is once."""
    return _DEFAULT_DEPTH if style is None else load_company_styles()[style].depth
