"""Delivery: how many delivery metrics lie outside their usual range."""

from collections.abc import Sequence

from coach_ai import delivery
from coach_ai.delivery.metric_spec import DISCOURSE_FILLERS
from coach_ai.domain import Accommodation, Remark
from coach_ai.scoring.local.analysis import Analysis
from coach_ai.scoring.quotes import make_remark


class Delivery:
    """5 minus the metrics outside their band. Not scored without word times."""

    name = "delivery"

    def level(self, analysis: Analysis) -> float | None:
        """Return the level, at least 1, or None if delivery could not be measured."""
        if "status" in analysis.metrics:
            return None
        outside = sum(
            isinstance(metric, dict) and metric["verdict"] in ("below", "above")
            for metric in analysis.metrics.values()
        )
        return max(1, 5 - outside)

    def remarks(self, analysis: Analysis) -> Sequence[Remark]:
        """Criticise the sentence with the most filler words, if there are more than usual.

        Fillers that are switched off are not criticised.
        """
        switched_off = analysis.answer.accommodations
        if Accommodation.FILLERS in switched_off:
            return []
        sentences = analysis.sentences
        counts = [delivery.count_fillers(one.tokens) for one in sentences]
        fillers, words = sum(counts), sum(len(one.tokens) for one in sentences)
        share = 100 * fillers / max(1, words)
        if DISCOURSE_FILLERS.value(share, fillers)["verdict"] != "above":
            return []
        worst = max(range(len(sentences)), key=lambda row: counts[row])
        has_advice = Accommodation.PAUSES not in switched_off
        text = analysis.pack.texts[
            "improvement_filler" if has_advice else "improvement_filler_only"
        ]
        quote = sentences[worst].text
        return [make_remark(analysis.answer, "improvement", self.name, text, quote)]
