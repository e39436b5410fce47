"""What a dimension of the local scorer is."""

from collections.abc import Sequence
from typing import Protocol

from coach_ai.domain import Remark
from coach_ai.scoring.local.analysis import Analysis


class Dimension(Protocol):
    """One dimension of the rubric. Stateless."""

    @property
    def name(self) -> str:
        """The name in the rubric."""

    def level(self, analysis: Analysis) -> float | None:
        """Return the level, 1 to 5, or None if it cannot be determined."""

    def remarks(self, analysis: Analysis) -> Sequence[Remark]:
        """Return strengths and improvements. Each is true of the unit that it quotes."""


def to_level(share: float) -> float:
    """Return the level of a share. A share outside 0 to 1 is clamped."""
    return 1 + 4 * min(1.0, max(0.0, share))
