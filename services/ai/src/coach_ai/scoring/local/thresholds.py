"""The thresholds of the local scorer (`thresholds.yaml`)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

Range = tuple[float, float]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The file's values. `digest` changes with any byte of the file."""

    digest: str
    deadline_seconds: float
    max_word_pieces: int
    score_step: int
    full_unit_words: int
    min_unit_share: float
    max_unit_share: float
    roles: Mapping[str, Range]
    masses: Mapping[str, Range]
    steps_before_result: Range
    novelty: Range
    belonging: Range
    noise: Range
    idle: Range
    clarity: Range
    meta_reach_units: int
    near_duplicate: float
    relevance: Range
    least_relevance_share: float
    off_topic: float
    answering: Range
    least_shares: float
    relevant: float
    remark: float
    remark_meta: float
    absent: float
    remark_share: float
    long_sentence_words: int
    long_answer_words: int


@cache
def load_thresholds() -> Thresholds:
    """Return the thresholds that ship."""
    data = (files("coach_ai.scoring.local") / "thresholds.yaml").read_bytes()
    values: dict[str, Any] = yaml.safe_load(data)
    return Thresholds(digest=hashlib.sha256(data).hexdigest(), **values)


def ramp(value: float, limits: Range) -> float:
    """Return 0 up to the first limit, 1 from the second limit on, and a line in between."""
    low, high = limits
    return min(1.0, max(0.0, (value - low) / (high - low)))


def ramp_all(values: Values, limits: Range) -> Values:
    """Return `ramp` of each value."""
    low, high = limits
    clipped: Values = np.clip((values - low) / (high - low), 0.0, 1.0)
    return clipped
