"""How an answer was spoken, from its words and its sound alone. Plain Python: no model, no I/O.

docs/feedback.md explains each figure: its formula, its band, and whose band it is.
"""

from coach_ai.delivery.fillers import count_fillers
from coach_ai.delivery.measure import MIN_SECONDS, MIN_WORDS, measure, measure_sound
from coach_ai.delivery.words import count_syllables

__all__ = [
    "MIN_SECONDS",
    "MIN_WORDS",
    "count_fillers",
    "count_syllables",
    "measure",
    "measure_sound",
]
