"""How much of a wording the tokens of an answer express: late interaction, weighted by rarity.

Khattab and Zaharia, ColBERT, 2020 (arXiv:2004.12832); Zhang et al., BERTScore, 2020
(arXiv:1904.09675). Each token of a wording counts with its highest cosine similarity to a token of
the answer. Rare tokens weigh more.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coach_ai.domain import Question
from coach_ai.questions.question_bank import load_question_bank

if TYPE_CHECKING:
    # OpenAI needs the points, and its image has no embeddings.
    from coach_ai.embeddings import Embeddings, TokenStates

Numbers = NDArray[np.float64]

_UNSEEN_COUNT = 0.5
"""Added to the number of wordings that contain a token."""
_NO_WEIGHT = 1e-9


@dataclass(frozen=True, slots=True)
class Alignment:
    """Shares of wordings that parts of an answer express: a row per unit, a column per wording."""

    unit: Numbers
    pair: Numbers
    """By a unit and the next one."""
    answer: Numbers
    """By the whole answer: a number per wording."""


class TokenWeights:
    """Inverse document frequency of tokens over the wordings of the question bank."""

    def __init__(self, embeddings: "Embeddings") -> None:
        wordings = [
            text
            for one in load_question_bank().values()
            if one.points
            for text in list_statements(one)
        ]
        tokens = embeddings.tokenize(wordings)
        counts = Counter(chain.from_iterable(map(set, tokens)))
        total = len(wordings) + 1
        self._weights = {one: np.log(total / (n + _UNSEEN_COUNT)) for one, n in counts.items()}
        self._unseen = float(np.log(total / _UNSEEN_COUNT))

    def get_weights(self, ids: NDArray[np.int64]) -> Numbers:
        """Return a weight per token."""
        return np.array([self._weights.get(int(one), self._unseen) for one in ids])


def list_statements(question: Question) -> list[str]:
    """Return all wordings of the question's points, their opposites and its misconceptions."""
    points = [t for one in question.points for t in (one.text, *one.accepted, *one.not_)]
    return points + [t for one in question.misconceptions for t in (one.text, *one.wordings)]


def align(units: "TokenStates", wordings: "TokenStates", weights: TokenWeights) -> Alignment:
    """Return how much of each wording the units express."""
    cosines = wordings.states.astype(np.float32) @ units.states.astype(np.float32).T
    highest = np.maximum.reduceat(cosines, units.starts, axis=1).astype(np.float64)
    rarity = weights.get_weights(wordings.ids)
    totals = np.maximum(np.add.reduceat(rarity, wordings.starts), _NO_WEIGHT)

    def share(found: Numbers) -> Numbers:
        sums = np.add.reduceat(rarity[:, None] * found, wordings.starts, axis=0)
        shares: Numbers = (sums / totals[:, None]).T
        return shares

    following = np.hstack([highest[:, 1:], highest[:, -1:]])
    return Alignment(
        unit=share(highest),
        pair=share(np.maximum(highest, following)),
        answer=share(highest.max(axis=1, keepdims=True))[0],
    )
