"""Tokens and sentences of a text. Plain Python."""

import re
from dataclasses import dataclass

_SENTENCE = re.compile(r"[^.!?]+(?:[.!?]+(?=\s|$)|$|[.!?]+)")
TOKEN = re.compile(r"[a-z0-9']+(?:\.[0-9]+)?%?")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, its offset in the text, and its tokens in lower case."""

    text: str
    begin: int
    tokens: tuple[str, ...]

    @property
    def end(self) -> int:
        """Offset after its last character."""
        return self.begin + len(self.text)


def normalise(text: str) -> str:
    """Return the text in lower case, with plain apostrophes. Offsets stay valid.

    İ is the only letter whose lower case is longer than itself.
    """
    return text.replace("İ", "i").lower().replace("’", "'")


def tokenize(text: str) -> tuple[str, ...]:
    """Return the words and numbers of a text, in lower case."""
    return tuple(TOKEN.findall(normalise(text)))


def split_sentences(text: str) -> list[Sentence]:
    """Return the sentences. Decimal points and abbreviations such as `Mr.` do not end one."""
    sentences: list[Sentence] = []
    begin = 0
    guarded = re.sub(r"\b(Mr|Mrs|Ms|Dr|St|e\.g|i\.e|vs)\.", lambda m: m[0][:-1] + "\0", text)
    guarded = re.sub(r"(?<=\d)\.(?=\d)", "\0", guarded)
    for match in _SENTENCE.finditer(guarded):
        raw = text[match.start() : match.end()]
        stripped = raw.strip()
        if stripped:
            begin = match.start() + raw.index(stripped)
            sentences.append(Sentence(stripped, begin, tokenize(stripped)))
    return sentences
