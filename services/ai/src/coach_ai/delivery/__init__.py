"""Delivery metrics: how an answer was spoken. Plain Python: no model, no I/O.

docs/speech-metrics.md explains each metric: its formula, its usual range
and the source of the range.
"""

from coach_ai.delivery.accommodations import drop_metrics, drop_remarks
from coach_ai.delivery.fillers import count_fillers
from coach_ai.delivery.measure import MIN_SECONDS, MIN_WORDS, measure, measure_audio
from coach_ai.delivery.words import count_syllables

__all__ = [
    "MIN_SECONDS",
    "MIN_WORDS",
    "count_fillers",
    "count_syllables",
    "drop_metrics",
    "drop_remarks",
    "measure",
    "measure_audio",
]
