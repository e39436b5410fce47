"""What profiles and stories need from the sentence embeddings."""

import base64
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class TextEncoder(Protocol):
    """Encodes texts as unit vectors. The dot product of two is their cosine similarity."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return a row per text."""

    def cached(self, texts: tuple[str, ...]) -> Vectors:
        """Return a row per text, from a cache. For texts that ship with the program."""


def dump_vectors(vectors: Vectors) -> str:
    """Return the vectors as text that a column can store."""
    return base64.b64encode(np.ascontiguousarray(vectors, np.float32).tobytes()).decode()


def load_vectors(stored: str, count: int) -> Vectors:
    """Return `count` vectors that `dump_vectors` stored."""
    flat = np.frombuffer(base64.b64decode(stored), np.float32)
    return flat.reshape(count, -1) if count else flat.reshape(0, 0)
