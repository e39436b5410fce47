"""Judges each statement in the context of the whole answer.

A misconception is more likely in an answer that covers few points, and a point in an answer that
covers the others.
"""

import numpy as np

from coach_ai.scoring.points.alignment import Numbers

_MIN_PROBABILITY = 1e-4


def describe_points(covered: Numbers, contradicted: Numbers, stated: Numbers) -> Numbers:
    """Return a row per point: its own logits, and the probabilities of the other statements.

    Args:
        covered: Probability per point that it is covered.
        contradicted: Probability per point that it is contradicted.
        stated: Probability per misconception.
    """
    wrong = stated if len(stated) else np.zeros(1)
    others = [_without(covered, number) for number in range(len(covered))]
    return np.column_stack(
        (
            _logit(covered),
            _logit(contradicted),
            [one.mean() for one in others],
            [one.max() for one in others],
            [_without(contradicted, number).mean() for number in range(len(covered))],
            np.full(len(covered), wrong.max()),
            np.full(len(covered), wrong.mean()),
        )
    )


def describe_misconceptions(covered: Numbers, contradicted: Numbers, stated: Numbers) -> Numbers:
    """Return a row per misconception: its own logit, and the probabilities of the others."""
    answer = (covered.mean(), covered.max(), contradicted.mean(), contradicted.max())
    return np.column_stack(
        (
            _logit(stated),
            np.tile(answer, (len(stated), 1)),
            [np.delete(stated, number).max(initial=0.0) for number in range(len(stated))],
        )
    )


def _without(values: Numbers, number: int) -> Numbers:
    """Return the other values, or the value itself if there are none."""
    return np.delete(values, number) if len(values) > 1 else values


def _logit(probabilities: Numbers) -> Numbers:
    limited = np.clip(probabilities, _MIN_PROBABILITY, 1.0 - _MIN_PROBABILITY)
    logits: Numbers = np.log(limited / (1.0 - limited))
    return logits
