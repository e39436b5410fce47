"""Units: the clauses of a transcript, at most 24 words each. Plain Python, linear time.

A unit is the smallest part that a scorer judges. Clauses are found by their joints ("and then he",
"because", a new subject) and not only by punctuation, so that a recogniser's missing full stops or
one long sentence give nearly the same units.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

MAX_UNIT_WORDS = 24
_MIN_UNIT_WORDS = 5
"""A joint ends a unit only if at least this many words precede and follow it. Connectives
("and then") are not counted."""
_MIN_SENTENCE_WORDS = 3
"""A shorter sentence ("Returns.") joins the one that follows it."""
_MAX_REPEATED_WORDS = 4
"""Longest phrase whose immediate repetition is dropped: "he was, he was going"."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*(?:[.,:]\d+)*%?")
_ABBREVIATIONS = frozenset(("mr", "mrs", "ms", "dr", "st", "e", "i", "vs", "no"))
_SENTENCE_END = re.compile(r"[.!?;\n•]|\s[-–—]\s|[–—:]")
_FILLED_PAUSES = frozenset(("um", "uh", "uhm", "er", "erm", "hmm", "mm", "ah", "eh"))
_COMMA_FILLERS = frozenset(("like", "well", "so", "okay", "ok", "yeah", "right", "actually"))
_FILLER_PAIRS = frozenset((("you", "know"), ("i", "mean"), ("sort", "of"), ("kind", "of")))
_CONJUNCTIONS = _words(
    """
    and but so then because since until while although though whereas which who if when
    """
)
_CONNECTIVES = _words(
    """
    and but so then also well now okay ok yeah yes
    """
)
_SUBJECTS = _words(
    """
    i i'm i'd i've i'll we we'd we've we're we'll he he'd he's she she'd she's they they'd
    they've they're it it's it'd there there's you you'd you're this that
    """
)
_PERSONS = _words(
    """
    i i'm i'd i've i'll we we'd we've we're he he'd he's she she'd she's they they'd
    """
)
_DETERMINERS = _words(
    """
    the a an my our his her their one two both everybody nobody
    """
)
_BEFORE_SUBJECT = _words(
    """
    that what how why where as than if when whether which who whom because since until while
    although though and but so then or after before once unless think thought know knew say
    said believe hope hoped guess mean wish the a
    """
)
"""After these words a pronoun does not begin a new clause."""
_ADVERBIALS = frozenset(
    tuple(one.split())
    for one in (
        "as a result", "as a consequence", "in the end", "at the end", "at the same time",
        "after that", "since then", "because of that", "from then", "thanks to", "by then",
        "in consequence", "for that reason", "in the meantime", "the next day", "a week later",
    )
)  # fmt: skip
"""Phrases that begin a clause, with or without a comma or conjunction before them."""
_ADVERBS = _words(
    """
    finally eventually afterwards therefore consequently suddenly luckily unfortunately fortunately
    meanwhile later instead next today soon
    """
)
"""Words that begin a clause after a conjunction."""
_MAX_ADVERBIAL_WORDS = 4
_WEAK_JOINTS = _words(
    """
    and but so then because since until while although which who that with for from to in on
    at by after before into about
    """
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A clause of a transcript."""

    text: str
    """The characters from `begin` to `end` of the transcript."""
    begin: int
    end: int
    tokens: tuple[str, ...]
    """Words in lower case, without filled pauses, fillers and immediate repetitions."""
    sentence: int
    """Number of the sentence that the unit begins in."""

    @property
    def plain(self) -> str:
        """The tokens as text, without connectives at the start: what an embedding encodes."""
        first = next((at for at, one in enumerate(self.tokens) if one not in _CONNECTIVES), 0)
        return " ".join(self.tokens[first:])


@dataclass(frozen=True, slots=True)
class _Token:
    word: str
    begin: int
    end: int
    ends_sentence_before: bool
    has_comma_before: bool
    has_comma_after: bool


def split_units(text: str, *, max_units: int | None = None) -> list[Unit]:
    """Return the units of a text in order, at most `max_units`.

    The units do not overlap. Every word except fillers and repetitions is in exactly one of them.
    """
    units: list[Unit] = []
    for number, sentence in enumerate(_join_short(_sentences(_tokens(text)))):
        for part in _split_clauses(_drop_disfluencies(sentence)):
            if max_units is not None and len(units) == max_units:
                return units
            begin, end = part[0].begin, part[-1].end
            while end < len(text) and text[end] in ".!?,;\"'’”)":
                end += 1
            words = tuple(token.word for token in part)
            units.append(Unit(text[begin:end].rstrip(",; "), begin, end, words, number))
    return units


def kept_words(text: str) -> list[tuple[int, int]]:
    """Return begin and end of each word that is neither a filler nor an immediate repetition."""
    return [
        (token.begin, token.end)
        for sentence in _join_short(_sentences(_tokens(text)))
        for token in _drop_disfluencies(sentence)
    ]


def _tokens(text: str) -> list[_Token]:
    found = list(_TOKEN.finditer(text))
    gaps = [text[one.end() : two.start()] for one, two in pairwise(found)]
    gaps = ["", *gaps, ""]
    return [
        _Token(
            match[0].lower().replace("’", "'"),
            match.start(),
            match.end(),
            _is_sentence_end(found[at - 1][0] if at else "", gaps[at]),
            "," in gaps[at],
            "," in gaps[at + 1],
        )
        for at, match in enumerate(found)
    ]


def _is_sentence_end(before: str, gap: str) -> bool:
    if gap.startswith(".") and before.lower() in _ABBREVIATIONS:
        return False
    return _SENTENCE_END.search(gap) is not None


def _sentences(tokens: Sequence[_Token]) -> list[list[_Token]]:
    sentences: list[list[_Token]] = []
    for token in tokens:
        if token.ends_sentence_before or not sentences:
            sentences.append([])
        sentences[-1].append(token)
    return sentences


def _join_short(sentences: Sequence[list[_Token]]) -> list[list[_Token]]:
    """Join a sentence of one or two words with the next one, the last with the one before."""
    joined: list[list[_Token]] = []
    pending: list[_Token] = []
    for sentence in sentences:
        pending = pending + sentence
        if len(pending) >= _MIN_SENTENCE_WORDS:
            joined.append(pending)
            pending = []
    if pending and joined:
        joined[-1] = joined[-1] + pending
    elif pending:
        joined.append(pending)
    return joined


def _drop_disfluencies(tokens: Sequence[_Token]) -> list[_Token]:
    """Drop filled pauses, fillers between commas, and immediately repeated phrases."""
    kept: list[_Token] = []
    skip = 0
    for at, token in enumerate(tokens):
        if skip:
            skip -= 1
            continue
        if token.word in _FILLED_PAUSES:
            continue
        following = tokens[at + 1] if at + 1 < len(tokens) else None
        if following and (token.word, following.word) in _FILLER_PAIRS:
            is_apart = token.has_comma_before or at == 0 or tokens[at - 1].word in _FILLED_PAUSES
            if is_apart and (following.has_comma_after or token.word in ("sort", "kind")):
                skip = 1
                continue
        if (
            token.word in _COMMA_FILLERS
            and token.has_comma_after
            and (token.has_comma_before or at == 0)
        ):
            continue
        kept.append(token)
        _drop_repetition(kept)
    return kept


def _drop_repetition(kept: list[_Token]) -> None:
    """Drop the last words of `kept` if they repeat the words right before them."""
    for length in range(min(_MAX_REPEATED_WORDS, len(kept) // 2), 0, -1):
        last = [token.word for token in kept[-length:]]
        if last == [token.word for token in kept[-2 * length : -length]] and not (
            length == 1 and last[0] in ("that", "had", "very")
        ):
            del kept[-2 * length : -length]
            return


def _split_clauses(tokens: list[_Token]) -> list[list[_Token]]:
    clauses: list[list[_Token]] = []
    begin = content_words = 0
    for at, token in enumerate(tokens):
        if (
            content_words >= _MIN_UNIT_WORDS
            and len(tokens) - at >= _MIN_UNIT_WORDS
            and _is_joint(tokens, at)
        ):
            clauses.append(tokens[begin:at])
            begin, content_words = at, 0
        content_words += token.word not in _CONNECTIVES
    if begin < len(tokens):
        clauses.append(tokens[begin:])
    return [part for clause in clauses for part in _split_long(clause)]


def _is_joint(tokens: Sequence[_Token], at: int) -> bool:
    """True if a new clause begins at a token."""
    word = tokens[at].word
    before = tokens[at - 1].word
    after = tokens[at + 1].word if at + 1 < len(tokens) else ""
    later = tokens[at + 2].word if at + 2 < len(tokens) else ""
    if word in ("because", "although", "whereas", "until") or (word, after) == ("since", "then"):
        return True
    if before not in _CONJUNCTIONS and _is_adverbial(tokens, at):
        return True
    if word in ("and", "but", "so", "then") and before not in _CONJUNCTIONS:
        if after in _ADVERBS or _is_adverbial(tokens, at + 1):
            return True
        if after in _SUBJECTS or after in ("then", "so", "because"):
            return True
        if after in _DETERMINERS:
            return tokens[at].has_comma_before or later in ("had", "was", "were")
        return tokens[at].has_comma_before
    if word in ("since", "which", "while", "when", "if"):
        return tokens[at].has_comma_before
    return word in _PERSONS and before not in _BEFORE_SUBJECT and before not in _CONJUNCTIONS


def _is_adverbial(tokens: Sequence[_Token], at: int) -> bool:
    """True if a phrase of `_ADVERBIALS` begins at a token."""
    words = tuple(token.word for token in tokens[at : at + _MAX_ADVERBIAL_WORDS])
    return any(words[:length] in _ADVERBIALS for length in range(2, len(words) + 1))


def _split_long(clause: list[_Token]) -> list[list[_Token]]:
    """Split a clause of more than `MAX_UNIT_WORDS` words, if possible at a comma or joint."""
    parts: list[list[_Token]] = []
    while len(clause) > MAX_UNIT_WORDS:
        cut = _best_cut(clause)
        parts.append(clause[:cut])
        clause = clause[cut:]
    parts.append(clause)
    return parts


def _best_cut(clause: Sequence[_Token]) -> int:
    latest = min(MAX_UNIT_WORDS, len(clause) - 1)
    earliest = max(_MIN_UNIT_WORDS, latest // 2)
    for is_cut in (
        lambda token: token.has_comma_before,
        lambda token: token.word in ("and", "but", "so", "then"),
        lambda token: token.word in _WEAK_JOINTS,
    ):
        for at in range(latest, earliest - 1, -1):
            if is_cut(clause[at]):
                return at
    return latest
