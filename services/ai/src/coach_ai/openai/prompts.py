"""The prompts (`prompts/*.md`), their versions, and a guard against quoting them in a reply."""

import hashlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from functools import cache
from importlib.resources import files

from coach_ai.text import tokenize

SCORE = ("score",)
SCORE_POINTS = ("score", "score_points")
"""For a question with expected points."""
CHAT = ("chat", "reminder")
SUMMARISE = ("summarise",)
REWRITE = ("rewrite",)
INTERVIEW = ("interview",)

MIN_QUOTED_WORDS = 8
"""This many consecutive words of a prompt count as a quotation."""


@cache
def load(name: str) -> str:
    """Return the text of a prompt."""
    return (files("coach_ai") / "prompts" / f"{name}.md").read_text("utf-8")


@cache
def version(*names: str) -> str:
    """Return the version of these prompts: a digest of their texts."""
    texts = "\0".join(map(load, names))
    return hashlib.sha256(texts.encode()).hexdigest()[:12]


class PromptLeak(Exception):
    """The next words of the reply would quote the prompt."""


class PromptLeakGuard:
    """Passes a reply on, but holds back words that match a prompt until they differ from it.

    Detects verbatim quotations only, not paraphrases, translations or encodings. That is enough,
    because a prompt contains no secrets.
    """

    def __init__(self, prompt: str) -> None:
        words = [key for word in prompt.split() if (key := _normalise(word))]
        self._runs = {
            tuple(words[first : first + length])
            for length in range(1, MIN_QUOTED_WORDS + 1)
            for first in range(len(words) - length + 1)
        }

    async def filter(self, pieces: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        """Yield the text. Raises PromptLeak before the words that would complete a quotation."""
        held: list[str] = []
        unfinished = ""
        async with aclosing(pieces):
            async for piece in pieces:
                *whole, unfinished = _split_keeping_space(unfinished + piece)
                if ready := "".join(self._release(held, whole)):
                    yield ready
        if ready := "".join(self._release(held, [unfinished])):
            yield ready
        yield "".join(held)

    def is_quoted_in(self, text: str) -> bool:
        """Return True if a complete text quotes the prompt."""
        try:
            for _ in self._release([], _split_keeping_space(text)):
                pass
        except PromptLeak:
            return True
        return False

    def _release(self, held: list[str], words: list[str]) -> Iterator[str]:
        """Add words to `held`, and yield those that cannot be part of a quotation."""
        for word in words:
            held.append(word)
            while held and not self._matches_prompt(held):
                yield held.pop(0)

    def _matches_prompt(self, held: list[str]) -> bool:
        run = tuple(key for word in held if (key := _normalise(word)))
        if len(run) == MIN_QUOTED_WORDS and run in self._runs:
            raise PromptLeak
        return run in self._runs


def _normalise(word: str) -> str:
    return "".join(tokenize(word))


def _split_keeping_space(text: str) -> list[str]:
    """Return the words, each with the white space before it. The last one may be unfinished."""
    words = [""]
    for character in text:
        if character.isspace() and words[-1].strip():
            words.append("")
        words[-1] += character
    return words
