"""The dimensions that the local scorer scores: one module each, behind one protocol.

A new dimension is a module, an entry here, and an entry in the rubric.
"""

from coach_ai.scoring.local.dimensions.clarity import Clarity
from coach_ai.scoring.local.dimensions.delivery import Delivery
from coach_ai.scoring.local.dimensions.dimension import Dimension
from coach_ai.scoring.local.dimensions.reasoning import Reasoning
from coach_ai.scoring.local.dimensions.relevance import Relevance
from coach_ai.scoring.local.dimensions.specificity import Specificity
from coach_ai.scoring.local.dimensions.structure import Structure
from coach_ai.scoring.local.dimensions.technical import Technical

DIMENSIONS: tuple[Dimension, ...] = (
    Structure(),
    Specificity(),
    Reasoning(),
    Technical(),
    Relevance(),
    Clarity(),
    Delivery(),
)
"""In the order of their remarks."""

__all__ = ["DIMENSIONS", "Dimension"]
