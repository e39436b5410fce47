"""Technical: whether what is said is right. Its level comes from the expected points."""

from collections.abc import Sequence

from coach_ai.domain import Remark
from coach_ai.scoring.local.analysis import Analysis


class Technical:
    """The level that the check of the expected points gave."""

    name = "technical"

    def level(self, analysis: Analysis) -> float | None:
        """Return the level, or None if the question has no points that could be checked."""
        return analysis.technical_level

    def remarks(self, analysis: Analysis) -> Sequence[Remark]:
        """Return none: the feedback lists the points."""
        return []
