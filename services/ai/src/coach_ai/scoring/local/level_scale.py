"""Conversions between signals and the rubric's levels."""


def to_level(share: float) -> float:
    """Return the level (1 to 5) of a share. A share outside 0 to 1 is clamped."""
    return 1 + 4 * min(1.0, max(0.0, share))


def saturating_ratio(positive: float, negative: float) -> float:
    """Return positive / (positive + negative): each further positive signal adds less."""
    return positive / (positive + negative)
