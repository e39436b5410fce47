"""The goals of the local scorer, and whether the held-out sets reach them."""

from collections.abc import Mapping
from typing import Any

Report = Mapping[str, Any]

_LEAST_RATED_SHARE = 0.8
"""Share of the rated remarks that the scorer must still make."""


def list_goals(held_out: Report, scoring_milliseconds: float) -> list[dict[str, Any]]:
    """Return every goal with the value that was measured. None means not measured."""
    pairs, points, technical = held_out["pairs"], held_out["points"], held_out["technical"]
    return [
        _at_least("pairs two or more levels apart in order", 0.95, _share(held_out["ordering"])),
        _at_most("additions without content that raise a score", 0.02,
                 _share(held_out["additions"])),
        _at_least("`lower` pairs that are lower", 0.90, _share(pairs["lower"])),
        _at_least("`same` pairs within 5 points", 0.85, _share(pairs["same"])),
        _at_least("points between two levels", 14, held_out["level_distance"]),
        _at_most("noise, as a share of that distance", 0.35, held_out["noise"]),
        *(
            _at_least(f"technical answers: right above {kind}", 0.95,
                      _ratio(technical[f"right_above_{kind}"]))
            for kind in ("wrong", "nonsense")
        ),
        *(
            _at_least(f"technical answers: {kind} at most 40 points", 1.0,
                      _ratio(technical[f"{kind}_at_most_40"]))
            for kind in ("wrong", "nonsense")
        ),
        _at_least("misconceptions: recall", 0.80, points["misconceptions"]["recall"]),
        _at_least("misconceptions: precision", 0.90, points["misconceptions"]["precision"]),
        _at_least("covered points: recall", 0.80, points["covered"]["recall"]),
        _at_least("covered points: precision", 0.85, points["covered"]["precision"]),
        _at_least("remarks that are true of their quote", 0.90,
                  _share_of_remarks(held_out["remarks"])),
        _at_most("answers of levels 2 to 5 that are rejected", 0.0,
                 _ratio(held_out["answers_rejected"])),
        _at_most("milliseconds for 300 words (median)", 300, scoring_milliseconds),
    ]  # fmt: skip


def _at_least(name: str, goal: float, value: float | None) -> dict[str, Any]:
    return _goal(name, goal, value, is_at_least=True)


def _at_most(name: str, goal: float, value: float | None) -> dict[str, Any]:
    return _goal(name, goal, value, is_at_least=False)


def _goal(name: str, goal: float, value: float | None, *, is_at_least: bool) -> dict[str, Any]:
    is_reached = None
    if value is not None:
        is_reached = value >= goal if is_at_least else value <= goal
    return {
        "name": name,
        "is_at_least": is_at_least,
        "goal": goal,
        "value": value,
        "is_reached": is_reached,
    }


def _share_of_remarks(ratio: Mapping[str, int]) -> float | None:
    """Return the share of true remarks, or None if the scorer makes other ones than were rated."""
    return _ratio(ratio) if ratio["total"] >= _LEAST_RATED_SHARE * ratio["rated"] else None


def _share(ratios: Report) -> float | None:
    return _ratio(ratios["all"])


def _ratio(ratio: Mapping[str, int]) -> float | None:
    return round(ratio["count"] / ratio["total"], 3) if ratio["total"] else None
