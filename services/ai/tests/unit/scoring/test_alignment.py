"""Alignment of tokens: the share of a wording that an answer expresses."""

import numpy as np
import pytest

from coach_ai.embeddings import Embeddings, find_installed
from coach_ai.scoring.points.alignment import Alignment, TokenWeights, align

MODEL = find_installed()
pytestmark = pytest.mark.skipif(MODEL is None, reason="the embedding model is not installed")
WORDING = "an index makes searches faster"


@pytest.fixture(scope="module")
def embeddings() -> Embeddings:
    assert MODEL is not None
    return Embeddings(MODEL)


@pytest.fixture(scope="module")
def weights(embeddings: Embeddings) -> TokenWeights:
    return TokenWeights(embeddings)


def _align(embeddings: Embeddings, weights: TokenWeights, units: list[str]) -> Alignment:
    return align(embeddings.encode_tokens(units), embeddings.encode_tokens([WORDING]), weights)


def test_wording_is_expressed_by_itself(embeddings: Embeddings, weights: TokenWeights) -> None:
    found = _align(embeddings, weights, ["we had soup for lunch", WORDING])

    assert found.unit.shape == (2, 1) and found.answer.shape == (1,)
    assert found.unit[1, 0] == pytest.approx(1.0, abs=0.01)
    assert found.unit[0, 0] < 0.5


def test_wording_spread_over_two_units_is_expressed_by_the_pair(
    embeddings: Embeddings, weights: TokenWeights
) -> None:
    found = _align(embeddings, weights, ["we put an index on it", "searches became much faster"])

    assert found.pair[0, 0] > found.unit[:, 0].max()
    assert found.answer[0] == pytest.approx(found.pair[0, 0])


def test_rare_tokens_weigh_more_than_common_ones(
    embeddings: Embeddings, weights: TokenWeights
) -> None:
    (ids,) = embeddings.tokenize(["the index"])

    the, index = weights.get_weights(np.array(ids))

    assert index > the > 0


def test_vectors_of_tokens_are_those_of_the_texts(embeddings: Embeddings) -> None:
    texts = [f"{WORDING} {number}" for number in range(20)]

    tokens = embeddings.encode_tokens(texts)

    assert np.array_equal(tokens.vectors, embeddings.encode(texts))
    assert len(tokens.starts) == len(texts)
    assert len(tokens.ids) == len(tokens.states)


def test_text_without_tokens_has_one_state(embeddings: Embeddings) -> None:
    tokens = embeddings.encode_tokens(["", "index"])

    assert tokens.starts.tolist() == [0, 1]
    assert len(tokens.states) == 2
