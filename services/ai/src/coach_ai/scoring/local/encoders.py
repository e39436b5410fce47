"""Vectors of units: by the sentence embeddings, or by words alone if the model is not installed."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Protocol

import numpy as np

from coach_ai.embeddings import LAYERS, Embeddings, Vectors

_FORM_LAYERS = (3, 4)
"""Layers that tell the role of a unit: 75 % of unseen units get the right one of 14 roles, with the
last layer 65 %."""
_FORM_SCALE = 3.0
"""Brings the unit vectors to the range of the surface features."""
_WORD_BUCKETS = 512


class Encoder(Protocol):
    """Turns texts into vectors. `name` is part of the name of the scorer's model."""

    @property
    def name(self) -> str:
        """A short name, which is also the name of the weights file."""

    def encode(self, texts: Sequence[str]) -> tuple[Vectors, Vectors]:
        """Return two rows per text: its form (for roles) and its meaning (a unit vector)."""

    def encode_fixed(self, texts: tuple[str, ...]) -> Vectors:
        """Return the meaning of each text of a fixed set. Cached."""


class SentenceEncoder:
    """An Encoder over the sentence embeddings."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings

    @property
    def name(self) -> str:
        """The embedding model."""
        return self._embeddings.MODEL

    def encode(self, texts: Sequence[str]) -> tuple[Vectors, Vectors]:
        """Return form and meaning. Each text is encoded once."""
        unique = list(dict.fromkeys(texts))
        row = {text: number for number, text in enumerate(unique)}
        *form, meaning = self._embeddings.encode_layers(unique, (*_FORM_LAYERS, LAYERS))
        order = [row[text] for text in texts]
        return np.hstack(form)[order] * np.float32(_FORM_SCALE), meaning[order]

    def encode_fixed(self, texts: tuple[str, ...]) -> Vectors:
        """Return the meaning of each text, from the cache of the embeddings."""
        return self._embeddings.cached(texts)


class WordEncoder:
    """An Encoder without a model: hashed words and word pairs. It knows no synonyms."""

    name = "words"

    def encode(self, texts: Sequence[str]) -> tuple[Vectors, Vectors]:
        """Return form (words and pairs) and meaning (stems of content words)."""
        form = np.zeros((len(texts), _WORD_BUCKETS), np.float32)
        meaning = np.zeros((len(texts), _WORD_BUCKETS), np.float32)
        for number, text in enumerate(texts):
            words = text.lower().split()
            for term in (*words, *map("_".join, pairwise(words))):
                form[number, _bucket(term)] += 1
            for word in words:
                if len(word) > 3:
                    meaning[number, _bucket(_stem(word))] += 1
        return _normalise(form) * np.float32(_FORM_SCALE), _normalise(meaning)

    def encode_fixed(self, texts: tuple[str, ...]) -> Vectors:
        """Return the meaning of each text."""
        return self.encode([text.strip(".?!").lower() for text in texts])[1]


@lru_cache(maxsize=20_000)
def _bucket(term: str) -> int:
    digest = hashlib.blake2b(term.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % _WORD_BUCKETS


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _normalise(rows: Vectors) -> Vectors:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    found: Vectors = rows / np.maximum(lengths, np.float32(1e-6))
    return found
