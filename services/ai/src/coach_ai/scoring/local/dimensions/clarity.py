"""Clarity: the share of an answer that is no detour."""

from collections.abc import Sequence

from coach_ai.domain import Remark
from coach_ai.scoring.local.analysis import Analysis
from coach_ai.scoring.local.dimensions.dimension import to_level
from coach_ai.scoring.local.thresholds import ramp


class Clarity:
    """General talk, repetition, asides and talk to the scorer lower the level.

    The length of sentences gives a remark and no level: a recogniser's full stops are not reliable.
    """

    name = "clarity"

    def level(self, analysis: Analysis) -> float:
        """Return the level."""
        return to_level(ramp(analysis.focus, analysis.limits.clarity))

    def remarks(self, analysis: Analysis) -> Sequence[Remark]:
        """Criticise the longest sentence, if the transcript has several."""
        sentences = analysis.sentences
        longest = max(sentences, key=lambda one: len(one.tokens))
        words = len(longest.tokens)
        if len(sentences) < 2 or words <= analysis.limits.long_sentence_words:
            return []
        row = next(
            row for row, unit in enumerate(analysis.reading.units) if unit.end > longest.begin
        )
        return [analysis.remark("improvement", self.name, row, "improvement_long", words=words)]
