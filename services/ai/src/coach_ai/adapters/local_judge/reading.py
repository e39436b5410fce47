"""What counts of an answer: without repeats, praise, and what is said to the judge."""

import re
from dataclasses import dataclass

from coach_ai.adapters.local_judge.words import COMMON, NUMBER, VAGUE, is_past, names
from coach_ai.domain import Answer
from coach_ai.evidence import Sentence, sentences_of, tokens_of

_TO_THE_JUDGE = re.compile(
    r"\b(ignore|disregard|forget) (all|the|any|every|your|previous)\b|\brubric\b|\bsystem prompt\b"
    r"|\bas an ai\b|\byou are (now )?(a|an|the) |\bfull marks\b|\bperfect score\b"
    r"|\b(give|award|assign|set|mark|answer|return|write|say|rate)\b.*\b(scores?|points|marks"
    r"|rating|grades?|dimensions?|level (five|5)|relevance|specificity|clarity)\b"
    r"|^(please )?(answer|respond|reply|return|output|print) (only|just|nothing|with)\b"
    r"|\b(score|rate|grade) (me|this|it)\b|\bbest (answer|candidate) you\b"
)
_OF_ONESELF = re.compile(
    r"\b(i|i'm|i've|i'd|me|my)\b.*\b(the best|better than (any|every)\w*|world[- ]class|genius"
    r"|(extremely|exceptionally|incredibly|extraordinarily) \w+|amazing|brilliant|outstanding"
    r"|gifted|talented|rock ?star|ninja|number one|the top|hundred percent|never fail|any(one|body)"
    r"|always (succeed|win|deliver))\b|\b(nobody|no one) else (could|would|can)\b"
)
_OF_THE_LISTENER = re.compile(
    r"\b(you|your|you're|you've)\b.*\b(best|amazing|brilliant|wonderful|fantastic|excellent|great"
    r"|proud|experienced|impressive|inspiring|admire|dream|look up|looks up)\b"
    r"|\b(thank you|good question|an honou?r|a privilege)\b"
)
_CLAUSE = re.compile(r"[,;:–—]+|\s-+\s|\.{2,}")
_SAME = 0.75
"""The share of a clause's words that one earlier sentence has, from which on it says it again."""


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence that counts, and those of its clauses that do."""

    sentence: Sentence
    clauses: tuple[tuple[str, ...], ...]

    @property
    def tokens(self) -> tuple[str, ...]:
        """The words that count."""
        return tuple(token for clause in self.clauses for token in clause)


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer as the signals see it."""

    said: list[Said]
    boast: Sentence | None
    longest: list[int]
    """The numbers of words of all its sentences, the longest first."""
    vague: int
    """How often it leaves open who, what or how much."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """The words that count."""
        return tuple(token for one in self.said for token in one.tokens)

    @property
    def telling(self) -> str:
        """The sentences that tell of something: with a figure, with a past tense, or with more
        words that name something than words that leave it open."""
        return " ".join(one.sentence.text for one in self.said if _tells(one))


def read(answer: Answer) -> Reading:
    """Leave out what adds nothing."""
    sentences = sentences_of(answer.text)
    counted, boast = [], None
    for sentence in sentences:
        plain = " ".join(sentence.tokens)
        if _OF_ONESELF.search(plain):
            boast = boast or sentence
        elif not (_TO_THE_JUDGE.search(plain) or _OF_THE_LISTENER.search(plain)):
            counted.append(sentence)
    lengths = sorted((len(sentence.tokens) for sentence in sentences), reverse=True)
    vague = len(VAGUE.findall(" ".join(tokens_of(answer.text))))
    return Reading(_said_once(counted), boast, lengths, vague)


def _tells(one: Said) -> bool:
    plain = " ".join(one.tokens)
    if NUMBER.search(plain) or any(is_past(token) for token in one.tokens):
        return True
    return len(names(one.tokens)) > len(VAGUE.findall(plain))


def _said_once(sentences: list[Sentence]) -> list[Said]:
    """Leave out the clauses that say what an earlier sentence, or their own, has said."""
    once: list[Said] = []
    before: list[set[str]] = []
    for sentence in sentences:
        here: set[str] = set()
        kept = []
        for clause in map(tokens_of, _CLAUSE.split(sentence.text)):
            names = set(clause) - COMMON
            if names and any(len(names & has) / len(names) >= _SAME for has in (*before, here)):
                continue
            here |= names
            if clause:
                kept.append(clause)
        if kept:
            once.append(Said(sentence, tuple(kept)))
            before.append(here)
    return once
