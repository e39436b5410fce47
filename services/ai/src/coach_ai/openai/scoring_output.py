"""What the model must return for a scoring: its JSON Schema, made from the rubric and the expected
points of the question, and its reading.

The schema is strict. The reading is not: it accepts what can be read without guessing, such as 4.0
or "4" for the level 4, additional keys, and missing keys that may be null. A remark that cannot be
read is dropped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coach_ai.domain import PointStatus, Question
from coach_ai.openai.json_responses import find_objects

LEVELS = (1, 2, 3, 4, 5)
STAR_PARTS = ("situation", "task", "action", "result")
_NULL: dict[str, Any] = {"type": "null"}
_TEXT: dict[str, Any] = {"type": "string"}


@dataclass(frozen=True, slots=True)
class OutputFields:
    """What is asked of the model: dimensions of the rubric, ids of points and misconceptions."""

    dimensions: tuple[str, ...]
    points: tuple[str, ...] = ()
    misconceptions: tuple[str, ...] = ()

    @classmethod
    def from_question(cls, dimensions: Sequence[str], reference: Question | None) -> "OutputFields":
        """Return the fields for an answer to this question."""
        if reference is None or not reference.points:
            return cls(tuple(dimensions))
        return cls(
            tuple(dimensions),
            tuple(point.id for point in reference.points),
            tuple(one.id for one in reference.misconceptions),
        )


@dataclass(frozen=True, slots=True)
class PointOutput:
    """How the answer treats a point, by the model. The quote is not verified."""

    status: PointStatus
    quote: str | None


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
    points: Mapping[str, PointOutput]
    misconceptions: Mapping[str, str]
    """Quotes that state a misconception, by its id."""


class UnreadableOutput(ValueError):
    """The text contains no scoring. The message is one clause for the model."""


def build_schema(fields: OutputFields) -> dict[str, Any]:
    """Return the strict JSON Schema of a scoring with these fields."""
    remark = _strict_object(
        kind={"type": "string", "enum": ["strength", "improvement"]},
        dimension={"type": "string", "enum": list(fields.dimensions)},
        text=_TEXT,
        quote=_TEXT,
    )
    level = _nullable({"type": "integer", "enum": list(LEVELS)})
    points: dict[str, Any] = {}
    if fields.points:
        point = _strict_object(
            status={"type": "string", "enum": [status.value for status in PointStatus]},
            quote=_nullable(_TEXT),
        )
        points["points"] = _strict_object(**dict.fromkeys(fields.points, point))
    if fields.misconceptions:
        quotes = dict.fromkeys(fields.misconceptions, _nullable(_TEXT))
        points["misconceptions"] = _strict_object(**quotes)
    return _strict_object(
        cannot_judge=_nullable(_TEXT),
        levels=_strict_object(**dict.fromkeys(fields.dimensions, level)),
        **points,
        claims={"type": "array", "items": remark},
        main_improvement=_nullable(_strict_object(text=_TEXT, quote=_TEXT, drill=_TEXT)),
        star=_nullable(_strict_object(**dict.fromkeys(STAR_PARTS, _nullable(_TEXT)))),
        summary=_TEXT,
    )


def read_scoring(text: str, fields: OutputFields) -> ScoringOutput:
    """Return the scoring in a text, which may have other text around it.

    Raises:
        UnreadableOutput: If no object in the text is a scoring.
    """
    problem = "it contains no JSON object"
    scoring = None
    for found in find_objects(text):
        try:
            scoring = _read_object(found, fields)
        except UnreadableOutput as error:
            problem = str(error)
    if scoring is None:
        raise UnreadableOutput(problem)
    return scoring


def _read_object(found: Mapping[str, Any], fields: OutputFields) -> ScoringOutput:
    dimensions = fields.dimensions
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
        _read_points(found.get("points"), fields.points, is_optional=cannot_judge is not None),
        _read_quotes(found.get("misconceptions"), fields.misconceptions),
    )


def _read_points(value: object, ids: Sequence[str], *, is_optional: bool) -> dict[str, PointOutput]:
    """Return the points that the model decided. A missing one counts as not covered."""
    entries = value if isinstance(value, dict) else {}
    points = {
        id_: _read_point(id_, entries[id_]) for id_ in ids if isinstance(entries.get(id_), dict)
    }
    if ids and not points and not is_optional:
        raise UnreadableOutput("`points` has no point")
    return points


def _read_point(id_: str, value: Mapping[str, Any]) -> PointOutput:
    status = (_read_text(value.get("status")) or "").lower()
    if status not in list(PointStatus):
        raise UnreadableOutput(f"`points.{id_}.status` is not one of {', '.join(PointStatus)}")
    return PointOutput(PointStatus(status), _read_text(value.get("quote")))


def _read_quotes(value: object, ids: Sequence[str]) -> dict[str, str]:
    quotes = {id_: _read_text(value.get(id_)) for id_ in ids} if isinstance(value, dict) else {}
    return {id_: quote for id_, quote in quotes.items() if quote is not None}


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
