"""Whether an answer is nearer to its question than to the others that interviewers ask."""

from functools import cache
from importlib.resources import files

import numpy as np
import yaml

from coach_ai.adapters.embeddings import Embeddings
from coach_ai.evidence import sentences_of

_ENOUGH = 40
"""Sentences, from the beginning, that show what an answer is about: some five minutes of speech."""
_SAME = 0.75
"""The cosine from which two questions ask for the same; only those of the bank are compared."""


def nearness(question: str | None, transcript: str, embeddings: Embeddings | None) -> float | None:
    """Return 1 where no other question is nearer to what is said, 0 where most are; None where
    there is no question, nothing said or no model.

    A rank among the bank's questions, so that no cosine is taken for a measure. A question is read
    together with what its nearest kin in the bank asks for, which is then no rival of it.
    """
    said = [one.text for one in sentences_of(transcript)[:_ENOUGH]]
    if not said or not question or embeddings is None:
        return None
    asked, about = _bank()
    (of_question,) = embeddings.of([question])
    alike = embeddings.kept(asked) @ of_question
    kin = int(alike.argmax())
    own = embeddings.of([f"{question} {about[kin]}"])
    rivals = embeddings.kept(tuple(map(" ".join, zip(asked, about, strict=True))))
    is_rival = alike < _SAME
    is_rival[kin] = False
    # The two sentences nearest to a question speak for it: others set the scene.
    cosines = np.vstack([own, rivals[is_rival]]) @ embeddings.of(said).T
    near = np.sort(cosines, axis=1)[:, -2:].mean(axis=1)
    return max(0.0, 1.0 - 2.0 * float((near[1:] > near[0]).mean()))


@cache
def _bank() -> tuple[tuple[str, ...], tuple[str, ...]]:
    text = (files("coach_ai.adapters.local_judge") / "questions.yaml").read_text("utf-8")
    bank = yaml.safe_load(text)
    return tuple(one["asked"] for one in bank), tuple(one["about"] for one in bank)
