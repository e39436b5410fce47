"""The picture of the quality report: the score of each graded answer by level, with its spread."""

import random
from collections.abc import Sequence
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 360, 50, 20, 20, 40
_JITTER = 34


def draw(scores: Sequence[dict[str, Any]]) -> str:
    """Return an SVG. A vertical line is the spread of a score."""
    chance = random.Random(1)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    lines += [
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_y(value)}" y2="{_y(value)}" '
        f'stroke="#ddd"/><text x="{_LEFT - 8}" y="{_y(value) + 4}" '
        f'text-anchor="end">{value}</text>'
        for value in range(0, 101, 20)
    ]
    lines += [
        f'<text x="{_x(level)}" y="{_HEIGHT - 16}" text-anchor="middle">level {level}</text>'
        for level in range(1, 6)
    ]
    for one in scores:
        x = round(_x(one["level"]) + chance.uniform(-_JITTER, _JITTER), 1)
        half = (one["spread"] or 0) / 2
        low, high = max(0.0, one["score"] - half), min(100.0, one["score"] + half)
        lines.append(
            f'<line x1="{x}" x2="{x}" y1="{_y(low)}" y2="{_y(high)}" stroke="#9bc"/>'
            f'<circle cx="{x}" cy="{_y(one["score"])}" r="3" fill="#146"/>'
        )
    return "\n".join([*lines, "</svg>", ""])


def _x(level: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (level - 0.5) / 5


def _y(score: float) -> float:
    return round(_TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - score / 100), 1)
