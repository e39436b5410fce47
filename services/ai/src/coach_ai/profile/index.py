"""The passages of a résumé and a job description with their vectors."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coach_ai.domain import Profile
from coach_ai.profile.passages import Passage, Source, split_passages
from coach_ai.profile.similarity import TextEncoder, Vectors

_VERSION = "1"
"""Change it if other passages or vectors are computed from the same texts."""


@dataclass(frozen=True, slots=True)
class ProfileIndex:
    """Passages with a unit vector each. `digest` identifies the texts that they are from."""

    digest: str
    passages: tuple[Passage, ...]
    vectors: Vectors

    def select(self, source: Source) -> tuple[list[Passage], Vectors]:
        """Return the passages from this source, with their vectors."""
        rows = [row for row, one in enumerate(self.passages) if one.source is source]
        return [self.passages[row] for row in rows], self.vectors[rows]


def digest_texts(profile: Profile) -> str:
    """Return what identifies the texts that the index of a profile is computed from."""
    texts = json.dumps([_VERSION, profile.resume, profile.job_description])
    return hashlib.sha256(texts.encode()).hexdigest()


def build_index(profile: Profile, encoder: TextEncoder) -> ProfileIndex:
    """Return the index of a profile. It takes up to a second per hundred passages."""
    passages = [
        Passage(source, text)
        for source, whole in (
            (Source.RESUME, profile.resume),
            (Source.JOB_DESCRIPTION, profile.job_description),
        )
        for text in split_passages(whole)
    ]
    texts = [one.text for one in passages]
    return ProfileIndex(digest_texts(profile), tuple(passages), encode(encoder, texts))


def encode(encoder: TextEncoder, texts: Sequence[str]) -> Vectors:
    """Return a row per text. There may be no text."""
    return encoder.encode(texts) if texts else np.zeros((0, 1), np.float32)
