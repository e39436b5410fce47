"""What the model must return for a scoring: its JSON Schema, made from the rubric, and its reading.

The schema is strict. The reading is not: it accepts what can be read without guessing, such as 4.0
or "4" for the level 4, additional keys, and missing keys that may be null. A remark that cannot be
read is dropped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coach_ai.openai.json_responses import find_objects

LEVELS = (1, 2, 3, 4, 5)
STAR_PARTS = ("situation", "task", "action", "result")
_NULL: dict[str, Any] = {"type": "null"}
_TEXT: dict[str, Any] = {"type": "string"}


@dataclass(frozen=True, slots=True)
class RemarkOutput:
    """A remark of the model. The quote is not verified."""

    kind: str
    dimension: str
    text: str
    quote: str


@dataclass(frozen=True, slots=True)
class MainImprovementOutput:
    """The main improvement of the model. The quote is not verified."""

    text: str
    quote: str
    drill: str


@dataclass(frozen=True, slots=True)
class ScoringOutput:
    """A scoring as the model returned it. `cannot_judge` is the reason if it declined to score."""

    cannot_judge: str | None
    levels: Mapping[str, int | None]
    remarks: Sequence[RemarkOutput]
    main_improvement: MainImprovementOutput | None
    star: Mapping[str, str | None]
    summary: str


class UnreadableOutput(ValueError):
    """The text contains no scoring. The message is one clause for the model."""


def build_schema(dimensions: Sequence[str]) -> dict[str, Any]:
    """Return the strict JSON Schema of a scoring with these dimensions."""
    remark = _strict_object(
        kind={"type": "string", "enum": ["strength", "improvement"]},
        dimension={"type": "string", "enum": list(dimensions)},
        text=_TEXT,
        quote=_TEXT,
    )
    level = _nullable({"type": "integer", "enum": list(LEVELS)})
    return _strict_object(
        cannot_judge=_nullable(_TEXT),
        levels=_strict_object(**dict.fromkeys(dimensions, level)),
        claims={"type": "array", "items": remark},
        main_improvement=_nullable(_strict_object(text=_TEXT, quote=_TEXT, drill=_TEXT)),
        star=_nullable(_strict_object(**dict.fromkeys(STAR_PARTS, _nullable(_TEXT)))),
        summary=_TEXT,
    )


def read_scoring(text: str, dimensions: Sequence[str]) -> ScoringOutput:
    """Return the scoring in a text, which may have other text around it.

    Raises:
        UnreadableOutput: If no object in the text is a scoring.
    """
    problem = "it contains no JSON object"
    scoring = None
    for found in find_objects(text):
        try:
            scoring = _read_object(found, dimensions)
        except UnreadableOutput as error:
            problem = str(error)
    if scoring is None:
        raise UnreadableOutput(problem)
    return scoring


def _read_object(found: Mapping[str, Any], dimensions: Sequence[str]) -> ScoringOutput:
    cannot_judge = _read_text(found.get("cannot_judge"))
    levels = _read_levels(found.get("levels"), dimensions, is_optional=cannot_judge is not None)
    claims = found.get("claims")
    if not isinstance(claims, list) and cannot_judge is None:
        raise UnreadableOutput("`claims` is not a list")
    star = found.get("star")
    return ScoringOutput(
        cannot_judge,
        levels,
        [
            remark
            for claim in (claims if isinstance(claims, list) else ())
            if (remark := _read_remark(claim, dimensions)) is not None
        ],
        _read_main_improvement(found.get("main_improvement")),
        {part: _read_text(star.get(part)) for part in STAR_PARTS} if isinstance(star, dict) else {},
        _read_text(found.get("summary")) or "",
    )


def _read_levels(
    value: object, dimensions: Sequence[str], *, is_optional: bool
) -> dict[str, int | None]:
    levels = {
        name: _read_level(name, level)
        for name, level in (value.items() if isinstance(value, dict) else ())
        if name in dimensions
    }
    if not levels and not is_optional:
        raise UnreadableOutput("`levels` has no level")
    return dict.fromkeys(dimensions) | levels


def _read_level(name: str, value: object) -> int | None:
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "null")):
        return None
    number: float | None = None
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            number = None
    if number not in LEVELS:
        raise UnreadableOutput(f"`levels.{name}` is not an integer from 1 to 5, or null")
    return int(number)


def _read_remark(value: object, dimensions: Sequence[str]) -> RemarkOutput | None:
    if not isinstance(value, dict):
        return None
    kind, dimension = _read_text(value.get("kind")), _read_text(value.get("dimension"))
    text, quote = _read_text(value.get("text")), _read_text(value.get("quote"))
    if kind is None or dimension is None or text is None or quote is None:
        return None
    if kind not in ("strength", "improvement") or dimension not in dimensions:
        return None
    return RemarkOutput(kind, dimension, text, quote)


def _read_main_improvement(value: object) -> MainImprovementOutput | None:
    if not isinstance(value, dict):
        return None
    text, quote = _read_text(value.get("text")), _read_text(value.get("quote"))
    drill = _read_text(value.get("drill"))
    return MainImprovementOutput(text, quote, drill) if text and quote and drill else None


def _read_text(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _strict_object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _nullable(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, _NULL]}
