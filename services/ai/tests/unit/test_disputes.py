"""What a second scoring says about the first."""

from dataclasses import replace

import pytest

from coach_ai.domain import DimensionLevel, Feedback
from coach_ai.domain.disputes import DisputeOutcome, compare

FIRST = Feedback(70, 71, None, 72, (), "Good.", "openai", "m", "1")


@pytest.mark.parametrize(
    ("second", "spreads", "outcome"),
    [
        (70, (None, None), DisputeOutcome.CONFIRMED),
        (80, (None, None), DisputeOutcome.CONFIRMED),
        (81, (None, None), DisputeOutcome.CHANGED),
        (59, (None, None), DisputeOutcome.CHANGED),
        (74, (3.5, None), DisputeOutcome.CHANGED),
        (74, (3.5, 4.0), DisputeOutcome.CONFIRMED),
    ],
)
def test_outcome_follows_from_difference_and_spread(
    second: int, spreads: tuple[float | None, float | None], outcome: DisputeOutcome
) -> None:
    before, after = spreads
    found = compare(
        replace(FIRST, score_spread=before),
        replace(FIRST, overall_score=second, score_spread=after),
    )

    assert (found.difference, found.outcome) == (second - 70, outcome)
    assert found.spread == max((one for one in spreads if one is not None), default=10.0)
    assert f"{second} points, the first one 70" in found.text


def test_second_scoring_without_score_counts_as_changed() -> None:
    found = compare(FIRST, replace(FIRST, overall_score=None, detailed_feedback="Too short."))

    assert (found.difference, found.outcome) == (None, DisputeOutcome.CHANGED)
    assert "Too short." in found.text


def test_text_names_dimensions_that_differ_and_the_kind_of_scorer() -> None:
    first = replace(
        FIRST,
        dimensions=(DimensionLevel("structure", 2.0, 0.5), DimensionLevel("clarity", 3.0, 0.5)),
    )
    second = replace(
        FIRST,
        dimensions=(DimensionLevel("structure", 4.0, 0.5), DimensionLevel("clarity", 3.2, 0.5)),
    )
    local = replace(FIRST, provider="local")

    text = compare(first, second).text
    assert "Structure: level 4 instead of 2." in text
    assert "Clarity" not in text
    assert "same words the same score" in compare(local, local).text
    assert "Another version of the scorer" in compare(FIRST, replace(FIRST, model="n")).text


def test_feedback_without_score_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="no score"):
        compare(replace(FIRST, overall_score=None), FIRST)
