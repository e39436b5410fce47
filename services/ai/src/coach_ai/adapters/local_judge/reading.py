"""What counts of an answer: without repeats, praise, and what is said to the judge."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass

from coach_ai.adapters.local_judge.words import COMMON, NUMBER, VAGUE, figures, names, tells
from coach_ai.domain import Answer
from coach_ai.evidence import Sentence, sentences_of, tokens_of
from coach_ai.no_answer import is_order

_TO_THE_JUDGE = re.compile(
    r"\b(ignore|disregard|forget) (all|the|any|every|your|previous)\b|\brubric\b|\bsystem prompt\b"
    r"|\bas an ai\b|\byou are (now )?(a|an|the) |\bfull marks\b|\bperfect score\b"
    r"|\b(give|award|assign|set|mark|rate)\b.{0,120}\b(scores?|points|marks"
    r"|rating|grades?|dimensions?|level (five|5)|relevance|specificity|clarity)\b"
    r"|^(please )?(answer|respond|reply|return|output|print) (only|just|nothing|with)\b"
    r"|\b(score|rate|grade|mark) (me|this|it|all|every\w*)\b|\bbest (answer|candidate) you\b"
    r"|\bthis (answer|transcript|response|candidate|interview)\b"
)
"""Wider than `is_order`: what is left out here costs a remark, there a sentence that was said."""
_JUDGING = re.compile(
    r"\b(scor(e|es|ing)|ratings?|graders?|grading|levels?|dimensions?|criteria|evaluat(ors?|ions?)"
    r"|examiners?|assess(ors?|ment)|judgement|verdict|candidates?|applicants?|transcripts?"
    r"|instructions?|prompts?|(?<!percentage )points|language model|ai|assistant|chatbot)\b"
)
_MARK = re.compile(
    r"\b(perfect|maximum|max|full|top|highest|best|excellent|outstanding|flawless|pass(es)?|ideal"
    r"|exceptional)\b"
)
"""Who speaks of judging and of a mark, and tells nothing that happened, speaks to the judge."""
_PRAISE = (
    "amazing|brilliant|wonderful|fantastic|excellent|outstanding|incredible|extraordinary|genius"
    "|world[- ]class|impressive|inspiring|gifted|talented|number one|one of a kind"
)
_OF_ONESELF = re.compile(
    rf"\b(i'm|i am|i was|i've been|makes me)\b.{{0,60}}\b({_PRAISE}|the best|rock ?star|ninja"
    r"|(extremely|exceptionally|incredibly) \w+|top (one|five|ten|\d+) percent)\b"
    r"|\bi\b.{0,60}\b(better|harder|faster|more) than (any|every)\w*\b"
    r"|\b(i|i've) (always (succeed|win|deliver)|never (once )?(fail|lose|lost))"
    r"|\b(nobody|no one) else (could|would|can)\b"
)
_OF_THE_LISTENER = re.compile(
    rf"\b(your \w+|you're|you are|you must|you've got|you ask)\b.{{0,60}}\b({_PRAISE}|proud|admire"
    r"|look(s)? up to)\b|\b(you're|you are) (really |truly |simply )?the (best|greatest)\b"
    r"|\b(thank you|good question|an honou?r|a privilege|i admire)\b"
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
        if is_order(sentence) or _is_to_the_judge(plain) or _OF_THE_LISTENER.search(plain):
            continue
        if _OF_ONESELF.search(plain):
            boast = boast or sentence
        else:
            counted.append(sentence)
    lengths = sorted((len(sentence.tokens) for sentence in sentences), reverse=True)
    vague = len(VAGUE.findall(" ".join(tokens_of(answer.text))))
    return Reading(_said_once(counted), boast, lengths, vague)


def _is_to_the_judge(plain: str) -> bool:
    if _TO_THE_JUDGE.search(plain):
        return True
    is_marked = _MARK.search(plain) or NUMBER.search(plain)
    return bool(_JUDGING.search(plain) and is_marked and not tells(plain.split()))


def _tells(one: Said) -> bool:
    plain = " ".join(one.tokens)
    if figures(one.clauses) or tells(one.tokens):
        return True
    return len(names(one.tokens)) > len(VAGUE.findall(plain))


def _said_once(sentences: list[Sentence]) -> list[Said]:
    """Leave out the clauses that say what an earlier sentence, or their own, has said."""
    once: list[Said] = []
    places: dict[str, set[int]] = defaultdict(set)
    for place, sentence in enumerate(sentences):
        kept = []
        for clause in map(tokens_of, _CLAUSE.split(sentence.text)):
            named = set(clause) - COMMON
            shared = Counter(where for name in named for where in places.get(name, ()))
            if named and max(shared.values(), default=0) / len(named) >= _SAME:
                continue
            for name in named:
                places[name].add(place)
            if clause:
                kept.append(clause)
        if kept:
            once.append(Said(sentence, tuple(kept)))
    return once
