"""The check of a model's rewrite: what is outside of blanks must be in the answer. Plain Python.

A sentence is compared with the passage that it names. The check compares words, so it cannot see
that two things of a passage have changed places. Sentences that fail are never shown.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coach_ai.domain.rewrites import (
    MAX_BLANK_CHARACTERS,
    RewrittenSentence,
    find_blanks,
    remove_blanks,
)
from coach_ai.scoring.quotes import find_quote

MAX_SENTENCE_CHARACTERS = 600

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*(?:[.,:]\d+)*%?")
_SYMBOL = re.compile(r"[^\w\s.,;:!?'’\"“”()–—-]")
_MIN_STEM = 3


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FUNCTION_WORDS = _words(
    """
    a an the this that these those which who whom whose what when where while as because since so
    then than and or but if although though after before until during at by for from in into of on
    onto to up down out over under about with within between through across around per am is are
    was were be been being have has had having do does did doing it its it's there here also first
    next finally later therefore thus afterwards once both each
    """
)
"""Words that carry no fact of their own. A model may add them."""
_QUALIFIERS = {
    "negation": _words(
        "not no never none nothing nobody neither nor without cannot hardly barely unable"
    ),
    "doubt": _words(
        """
        would could should might may must can will shall maybe perhaps probably almost nearly
        roughly approximately wanted want planned plan tried try hoped hope would've could've
        should've i'd i'll we'd we'll they'd they'll he'd he'll she'd she'll you'd you'll
        """
    ),
}
"""Words that turn or weaken a statement. A sentence has a kind of them if its passage has it."""
_PEOPLE = (
    _words("i i'm i've i'd i'll me my mine myself"),
    _words("we we're we've we'd we'll us our ours ourselves"),
    _words("you you're you've you'd you'll your yours yourself"),
    _words("he he's he'd he'll him his himself"),
    _words("she she's she'd she'll her hers herself"),
    _words("they they're they've they'd they'll them their theirs themselves"),
)
"""Who acts. A sentence names no person whom its passage does not name."""
_EXEMPT = _FUNCTION_WORDS.union(*_QUALIFIERS.values(), *_PEOPLE)


@dataclass(frozen=True, slots=True)
class ProposedSentence:
    """A sentence of a model, with the passage that it claims to be made of."""

    text: str
    source: str | None


def verify(proposed: ProposedSentence, answer: str) -> RewrittenSentence:
    """Return the sentence with its passage of the answer.

    Raises:
        Unsupported: If it contains something that its passage does not.
    """
    text = " ".join(proposed.text.split())
    outside = remove_blanks(text)
    blanks = find_blanks(text)
    if not text or len(text) > MAX_SENTENCE_CHARACTERS:
        raise Unsupported(
            f"A sentence is empty or longer than {MAX_SENTENCE_CHARACTERS} characters"
        )
    if "[" in outside or "]" in outside:
        raise Unsupported("A bracket has no partner")
    _verify_blanks(blanks, answer)
    if not _WORD.search(outside):
        if not blanks:
            raise Unsupported("A sentence has no word")
        return RewrittenSentence(" ".join(blanks))
    quote = find_quote(answer, proposed.source or "")
    if quote is None:
        raise Unsupported("`from` is not a passage of the transcript")
    _verify_words(outside, quote)
    return RewrittenSentence(text, quote)


class Unsupported(Exception):
    """A sentence has something that is not in the answer. The message is for the model."""


def _verify_blanks(blanks: Sequence[str], answer: str) -> None:
    known = set(_tokens(answer))
    for blank in blanks:
        if len(blank) > MAX_BLANK_CHARACTERS:
            raise Unsupported("A blank is too long")
        if any(_is_number(word) and word not in known for word in _tokens(blank)):
            raise Unsupported("A blank suggests a figure")


def _verify_words(outside: str, quote: str) -> None:
    words, known = _tokens(outside), _tokens(quote)
    stems = set(map(_stem, known))
    for word in words:
        if word in _EXEMPT or (_stem(word) in stems and not _is_number(word)) or word in known:
            continue
        raise Unsupported(f"“{word}” is not in the passage of its sentence")
    if not _is_subsequence(filter(_is_number, words), filter(_is_number, known)):
        raise Unsupported("Figures have changed their order")
    for kind, terms in _QUALIFIERS.items():
        if _has_any(words, terms) != _has_any(known, terms):
            raise Unsupported(f"A {kind} was added or left out")
    if any(_has_any(words, people) and not _has_any(known, people) for people in _PEOPLE):
        raise Unsupported("A sentence names another person than its passage")
    if set(_SYMBOL.findall(outside)) - set(_SYMBOL.findall(quote)):
        raise Unsupported("A symbol is not in the passage of its sentence")


def _tokens(text: str) -> list[str]:
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def _is_number(word: str) -> bool:
    return any(character.isdigit() for character in word)


def _has_any(words: Iterable[str], terms: frozenset[str]) -> bool:
    is_negation = "not" in terms
    return any(word in terms or (is_negation and word.endswith("n't")) for word in words)


def _is_subsequence(words: Iterable[str], known: Iterable[str]) -> bool:
    remaining = iter(known)
    return all(any(word == other for other in remaining) for word in words)


def _stem(word: str) -> str:
    """Return a word without the usual endings of English."""
    for ending in ("ing", "ied", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= _MIN_STEM:
            word = word[: -len(ending)] + ("y" if ending in ("ied", "ies") else "")
            break
    if len(word) > _MIN_STEM and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] if word.endswith("e") and len(word) > _MIN_STEM else word
