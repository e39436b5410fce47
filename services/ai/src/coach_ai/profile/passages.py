"""Passages: the sentences of a text, verbatim and bounded."""

import re
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from coach_ai.text import split_sentences

MAX_PASSAGE_CHARACTERS = 240
MAX_PASSAGES = 150
"""Of one text. The rest is left out."""

_MIN_WORDS = 3
_BULLET = re.compile(r"^[\s•●▪◦·*–—-]+")


class Source(StrEnum):
    """Where a passage is from."""

    RESUME = "resume"
    JOB_DESCRIPTION = "job_description"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Passage:
    """A sentence of a text. `session_id` is the session or interview of an answer."""

    source: Source
    text: str
    session_id: UUID | None = None


def split_passages(
    text: str, *, max_passages: int = MAX_PASSAGES, min_words: int = _MIN_WORDS
) -> list[str]:
    """Return the sentences of at least `min_words` words. Long ones are cut between words.

    Every passage occurs in the text as it is.
    """
    passages: list[str] = []
    for line in text.splitlines():
        for sentence in split_sentences(_BULLET.sub("", line)):
            for passage in _cut(sentence.text):
                if len(passage.split()) >= min_words:
                    passages.append(passage)
                    if len(passages) == max_passages:
                        return passages
    return passages


def _cut(sentence: str) -> list[str]:
    parts: list[str] = []
    while len(sentence) > MAX_PASSAGE_CHARACTERS:
        end = sentence.rfind(" ", 0, MAX_PASSAGE_CHARACTERS + 1)
        end = MAX_PASSAGE_CHARACTERS if end <= 0 else end
        parts.append(sentence[:end].rstrip())
        sentence = sentence[end:].lstrip()
    return [*parts, sentence]
