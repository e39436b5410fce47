"""What profiles and stories need from the sentence embeddings."""

import base64
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coach_ai.domain import StoryFit

Vectors = NDArray[np.float32]


class TextEncoder(Protocol):
    """Encodes texts as unit vectors. The dot product of two is their cosine similarity."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return a row per text."""

    def cached(self, texts: tuple[str, ...]) -> Vectors:
        """Return a row per text, from a cache. For texts that ship with the program."""


class StoryMatcher(Protocol):
    """Compares stories with questions. Its module needs the local packages."""

    def encode(self, text: str) -> Vectors | None:
        """Return the vectors of a story's sentences, or None if it has no sentence."""

    def match(
        self,
        stories: Sequence[tuple[str, Vectors]],
        questions: Sequence[str],
        *,
        is_fixed: bool,
    ) -> list[list[StoryFit]]:
        """Return a row per story and a column per question.

        Args:
            stories: The text of each story, and its vectors.
            questions: Texts of questions.
            is_fixed: Whether the questions ship with the program. Their vectors are cached.
        """


def dump_vectors(vectors: Vectors) -> str:
    """Return the vectors as text that a column can store."""
    return base64.b64encode(np.ascontiguousarray(vectors, np.float32).tobytes()).decode()


def load_vectors(stored: str, count: int) -> Vectors:
    """Return `count` vectors that `dump_vectors` stored."""
    flat = np.frombuffer(base64.b64decode(stored), np.float32)
    return flat.reshape(count, -1) if count else flat.reshape(0, 0)
