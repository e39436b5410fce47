"""The user's own sentences, without fillers and repetitions. Plain Python, linear time."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from coach_ai.domain import Answer
from coach_ai.domain.rewrites import replace_brackets
from coach_ai.scoring.answer_validation import strip_injections
from coach_ai.scoring.echo import Span, find_echoes
from coach_ai.scoring.set_aside import set_aside_non_answer
from coach_ai.scoring.units import kept_words, split_units
from coach_ai.text import split_sentences, tokenize

MAX_SENTENCE_WORDS = 40
"""A longer sentence is split at its clauses. Transcripts without punctuation need it."""
_MIN_PART_WORDS = 8
_MIN_ECHO_SHARE = 0.8
"""Words of a repetition of the question that are words of the question."""
_MIN_WORDS_AFTER_OPENING = 3


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STARTS_SENTENCE = _words(
    """
    and but so then i we he she they it the a my our there finally eventually afterwards in at
    """
)
"""A clause that begins with another word, such as "because", needs the one before it."""
_OPENINGS = _words("and okay ok yeah")
_AFTER_SO = _words("i we he she they it the my our there then at in last")
_EMPTY = _words("and but so then okay ok yes yeah no well right sure thanks thank you")
_ENDS = (".", "!", "?")
_LEADING_SYMBOL = re.compile(r"[^\w\s.,;:!?*•–—-]*\Z")
_FILLER = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[,…_]|\.\.+")


@dataclass(frozen=True, slots=True)
class OwnSentence:
    """A sentence of the answer.

    Attributes:
        text: The cleaned sentence. All of its words are words of the quote, in their order.
        quote: The passage of the transcript.
        begin: Offset of the passage in the read text.
    """

    text: str
    quote: str
    begin: int

    @property
    def end(self) -> int:
        """Offset after its last character."""
        return self.begin + len(self.quote)


def read_answer(answer: Answer) -> str:
    """Return the text of an answer that a rewrite is made of.

    Talk about the recording and sentences that instruct the scorer are left out. Every sentence is
    one of the transcript.
    """
    kept = set_aside_non_answer(answer).text
    return strip_injections(kept if kept in answer.text else answer.text)


def list_own_sentences(text: str, question: str | None = None) -> list[OwnSentence]:
    """Return the cleaned sentences of a text in order.

    Sentences without content, repeated ones and repetitions of the question are left out.
    """
    words = kept_words(text)
    echoes = find_echoes(text, question)
    asked = set(tokenize(question or ""))
    seen: set[tuple[str, ...]] = set()
    found = []
    for begin, end in _join_broken_words(_split(text), words):
        first, last = bisect_left(words, (begin, 0)), bisect_left(words, (end, 0))
        inside = _strip_opening(text, words[first:last])
        spoken = tuple(text[start:stop].lower() for start, stop in inside)
        if set(spoken) <= _EMPTY or spoken in seen:
            continue
        is_echo = any(first <= begin and end <= last for first, last in echoes)
        if is_echo and sum(word in asked for word in spoken) >= _MIN_ECHO_SHARE * len(spoken):
            continue
        seen.add(spoken)
        found.append(OwnSentence(_write(text, inside, begin, end), text[begin:end], begin))
    return found


def _split(text: str) -> list[Span]:
    """Return the places of the sentences, with long ones split at clauses."""
    spans: list[Span] = []
    for sentence in split_sentences(text):
        if len(sentence.tokens) <= MAX_SENTENCE_WORDS:
            spans.append((sentence.begin, sentence.end))
            continue
        begin, words = sentence.begin, 0
        for unit in split_units(sentence.text):
            if words >= _MIN_PART_WORDS and unit.tokens[0] in _STARTS_SENTENCE:
                at = sentence.begin + unit.begin
                spans.append((begin, begin + len(text[begin:at].rstrip(" ,;\n"))))
                begin, words = at, 0
            words += len(unit.tokens)
        spans.append((begin, sentence.end))
    return spans


def _join_broken_words(spans: Sequence[Span], words: Sequence[Span]) -> list[Span]:
    """Return the spans, joined where a word such as "a.5" reaches from one into the next."""
    joined: list[Span] = []
    for begin, end in spans:
        before = bisect_left(words, (begin, 0)) - 1
        if joined and before >= 0 and words[before][1] > begin:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return joined


def _strip_opening(text: str, words: Sequence[Span]) -> Sequence[Span]:
    """Return the words without an "and", "so" or "okay" that only opens the sentence."""
    while len(words) > _MIN_WORDS_AFTER_OPENING:
        first, second = (text[begin:end].lower() for begin, end in words[:2])
        if first not in _OPENINGS and not (first == "so" and second in _AFTER_SO):
            break
        words = words[1:]
    return words


def _write(text: str, words: Sequence[Span], begin: int, end: int) -> str:
    """Return the words as a sentence, with the punctuation around them."""
    written = _LEADING_SYMBOL.search(text, begin, words[0][0])[0]  # type: ignore[index]
    for at, (start, stop) in enumerate(words):
        following = words[at + 1][0] if at + 1 < len(words) else end
        written += text[start:stop] + _clean_gap(text[stop:following])
    written = replace_brackets(" ".join(written.split())).rstrip(" ,;:-–—")
    if not written.rstrip("\"'”’)").endswith(_ENDS):
        written += "."
    return written[0].upper() + written[1:]


def _clean_gap(gap: str) -> str:
    """Return what is between two words. The commas of a filler between them go with it."""
    if any(character.isalnum() for character in gap):
        return _FILLER.sub(" ", gap) or " "
    return gap
