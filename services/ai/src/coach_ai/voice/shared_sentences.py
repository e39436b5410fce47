"""Sentences that ship with the service. Their speech contains nothing of a user."""

import re
from collections.abc import Iterator
from functools import cache

from coach_ai.interview.wording import load_phrases
from coach_ai.questions.question_bank import load_question_bank

_SENTENCE_END = re.compile(r"(?<=[.!?”])\s+")


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, as they are spoken one after the other."""
    return [one for one in _SENTENCE_END.split(text.strip()) if one]


@cache
def load_shared_sentences() -> frozenset[str]:
    """Return the sentences of the question bank and of the personas' phrases."""
    return frozenset(one for text in _list_texts() for one in split_sentences(text))


def _list_texts() -> Iterator[str]:
    phrases = load_phrases()
    yield from phrases.notices.values()
    yield from phrases.positions.values()
    for manner in phrases.manners.values():
        yield from manner.values()
    for wordings in phrases.follow_ups.values():
        yield from wordings
    yield from phrases.hints.values()
    for question in load_question_bank().values():
        yield question.text
