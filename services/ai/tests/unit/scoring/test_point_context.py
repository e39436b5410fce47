"""Context of a statement: the probabilities of the other statements of the question."""

import numpy as np
import pytest

from coach_ai.scoring.points.context import describe_misconceptions, describe_points
from coach_ai.scoring.points.matcher import load_weights


def test_point_is_described_by_the_other_points() -> None:
    rows = describe_points(np.array([0.5, 0.9, 0.1]), np.array([0.5, 0.0, 0.2]), np.array([0.3]))

    assert rows[0] == pytest.approx([0.0, 0.0, 0.5, 0.9, 0.1, 0.3, 0.3])


def test_single_point_without_misconceptions_is_described() -> None:
    rows = describe_points(np.array([0.5]), np.array([0.5]), np.array([]))

    assert rows.tolist() == [[0.0, 0.0, 0.5, 0.5, 0.5, 0.0, 0.0]]


def test_question_without_misconceptions_has_no_rows() -> None:
    rows = describe_misconceptions(np.array([0.5]), np.array([0.5]), np.array([]))

    assert rows.shape == (0, 6)


def test_misconception_is_more_probable_if_the_answer_covers_little() -> None:
    regression = load_weights().misconception_in_context
    none, stated = np.zeros(4), np.array([0.5])

    few = regression.predict(describe_misconceptions(np.full(4, 0.1), none, stated))
    many = regression.predict(describe_misconceptions(np.full(4, 0.9), none, stated))

    assert few[0] > many[0]
