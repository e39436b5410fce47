"""Whether an answer is nearer in meaning to its own question than to others that are asked."""

from functools import cache
from importlib.resources import files

import yaml

from coach_ai.adapters.embeddings import Embeddings, Vectors
from coach_ai.adapters.local_judge.reading import Reading

_ENOUGH = 40
"""Sentences, from the beginning, that show what an answer is about: some five minutes of speech."""


def others_nearer(question: str, reading: Reading, meaning: Embeddings) -> float:
    """Return the share of the bank's other questions that an answer is nearer to than to its own.

    A rank, so that no cosine is taken for a measure. A question is as near as itself or as its
    nearest kin in the bank, whichever is nearer; a kin is near by how it is asked and answered.
    """
    said = meaning.of([one.sentence.text for one in reading.said[:_ENOUGH]]).mean(axis=0)
    texts = bank(meaning)
    (own,) = meaning.of([question])
    kin = int((texts[:, 0] @ own).argmax())
    near = texts.mean(axis=1) @ said
    return float((near > max(own @ said, near[kin])).sum() / (len(texts) - 1))


def bank(meaning: Embeddings) -> Vectors:
    """Return, for each question of the bank, its vector and those of two sentences of those who
    answer it; made once and kept."""
    return meaning.kept(tuple(text for one in _bank() for text in one)).reshape(len(_bank()), 3, -1)


@cache
def _bank() -> tuple[tuple[str, str, str], ...]:
    """Return each question with two sentences of those who answer it."""
    text = (files("coach_ai.adapters.local_judge") / "questions.yaml").read_text("utf-8")
    return tuple((one["asked"], *one["told"]) for one in yaml.safe_load(text))
