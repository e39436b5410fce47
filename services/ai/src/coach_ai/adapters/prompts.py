"""The prompts (`prompts/*.md`), and a guard that keeps them from being read out."""

import hashlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from functools import cache
from importlib.resources import files

from coach_ai.evidence import tokens_of

JUDGE = ("judge",)
CHAT = ("chat", "reminder")
SUMMARISE = ("summarise",)

QUOTED_WORDS = 8
"""So many words of a prompt in a row are a quotation, no chance."""


@cache
def load(name: str) -> str:
    """Return a prompt."""
    return (files("coach_ai") / "prompts" / f"{name}.md").read_text("utf-8")


@cache
def version(*names: str) -> str:
    """Return the version of a prompt that is made of these: a digest, so that no change is
    without a new one."""
    texts = "\0".join(map(load, names))
    return hashlib.sha256(texts.encode()).hexdigest()[:12]


class Leaking(Exception):
    """The text was about to quote the prompt."""


class PromptGuard:
    """Passes words on, holding back those that run along with a prompt.

    It stops a quotation. It does not know a paraphrase, a translation or an encoding: a prompt
    holds no secret, and what it says may be known.
    """

    def __init__(self, prompt: str) -> None:
        words = [key for word in prompt.split() if (key := _key(word))]
        self._runs = {
            tuple(words[first : first + length])
            for length in range(1, QUOTED_WORDS + 1)
            for first in range(len(words) - length + 1)
        }

    async def passed(self, pieces: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        """Yield what does not quote the prompt; raise Leaking where the next words would."""
        held: list[str] = []
        begun = ""
        async with aclosing(pieces):
            async for piece in pieces:
                *whole, begun = _words(begun + piece)
                if ready := "".join(self._freed(held, whole)):
                    yield ready
        if ready := "".join(self._freed(held, [begun])):
            yield ready
        yield "".join(held)

    def _freed(self, held: list[str], words: list[str]) -> Iterator[str]:
        for word in words:
            held.append(word)
            while held and not self._runs_along(held):
                yield held.pop(0)

    def _runs_along(self, held: list[str]) -> bool:
        run = tuple(key for word in held if (key := _key(word)))
        if len(run) == QUOTED_WORDS and run in self._runs:
            raise Leaking
        return run in self._runs


def _key(word: str) -> str:
    return "".join(tokens_of(word))


def _words(text: str) -> list[str]:
    """Return the words with the white space before them; the last one may be unfinished."""
    found = [""]
    for character in text:
        if character.isspace() and found[-1].strip():
            found.append("")
        found[-1] += character
    return found
