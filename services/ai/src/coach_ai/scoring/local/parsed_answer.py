"""The part of an answer that is scored.

Repeated clauses, praise of the speaker or the listener, and instructions to the scorer are dropped.
"""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass

from coach_ai.domain import Answer
from coach_ai.scoring.answer_validation import is_prompt_injection
from coach_ai.scoring.local.word_classes import (
    COMMON_WORDS,
    NUMBER,
    VAGUE_TERMS,
    concrete_numbers,
    content_words,
    has_past_event,
)
from coach_ai.text import Sentence, split_sentences, tokenize

_ADDRESSES_SCORER = re.compile(
    r"\b(ignore|disregard|forget) (all|the|any|every|your|previous)\b|\brubric\b|\bsystem prompt\b"
    r"|\bas an ai\b|\byou are (now )?(a|an|the) |\bfull marks\b|\bperfect score\b"
    r"|\b(give|award|assign|set|mark|rate)\b.{0,120}\b(scores?|points|marks"
    r"|rating|grades?|dimensions?|level (five|5)|relevance|specificity|clarity)\b"
    r"|^(please )?(answer|respond|reply|return|output|print) (only|just|nothing|with)\b"
    r"|\b(score|rate|grade|mark) (me|this|it|all|every\w*)\b|\bbest (answer|candidate) you\b"
    r"|\bthis (answer|transcript|response|candidate|interview)\b"
)
"""Broader than `is_prompt_injection`: here a false match only drops a sentence from the signals."""
_SCORING_TERMS = re.compile(
    r"\b(scor(e|es|ing)|ratings?|graders?|grading|levels?|dimensions?|criteria|evaluat(ors?|ions?)"
    r"|examiners?|assess(ors?|ment)|judgement|verdict|candidates?|applicants?|transcripts?"
    r"|instructions?|prompts?|(?<!percentage )points|language model|ai|assistant|chatbot)\b"
)
_GRADE_TERMS = re.compile(
    r"\b(perfect|maximum|max|full|top|highest|best|excellent|outstanding|flawless|pass(es)?|ideal"
    r"|exceptional)\b"
)
"""A sentence with a scoring term and a grade that describes no event is taken for an instruction to
the scorer."""
_PRAISE = (
    "amazing|brilliant|wonderful|fantastic|excellent|outstanding|incredible|extraordinary|genius"
    "|world[- ]class|impressive|inspiring|gifted|talented|number one|one of a kind"
)
_SELF_PRAISE = re.compile(
    rf"\b(i'm|i am|i was|i've been|makes me)\b.{{0,60}}\b({_PRAISE}|the best|rock ?star|ninja"
    r"|(extremely|exceptionally|incredibly) \w+|top (one|five|ten|\d+) percent)\b"
    r"|\bi\b.{0,60}\b(better|harder|faster|more) than (any|every)\w*\b"
    r"|\b(i|i've) (always (succeed|win|deliver)|never (once )?(fail|lose|lost))"
    r"|\b(nobody|no one) else (could|would|can)\b"
)
_LISTENER_PRAISE = re.compile(
    rf"\b(your \w+|you're|you are|you must|you've got|you ask)\b.{{0,60}}\b({_PRAISE}|proud|admire"
    r"|look(s)? up to)\b|\b(you're|you are) (really |truly |simply )?the (best|greatest)\b"
    r"|\b(thank you|good question|an honou?r|a privilege|i admire)\b"
)
_CLAUSE = re.compile(r"[,;:–—]+|\s-+\s|\.{2,}")
_REPEAT_OVERLAP = 0.75
"""A clause is a repetition if one earlier sentence contains this share of its content words."""


@dataclass(frozen=True, slots=True)
class CountedSentence:
    """A sentence with those of its clauses that are scored, as tokens."""

    sentence: Sentence
    clauses: tuple[tuple[str, ...], ...]

    @property
    def tokens(self) -> tuple[str, ...]:
        """Tokens of the scored clauses."""
        return tuple(token for clause in self.clauses for token in clause)


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """The scored sentences of an answer, and facts about all of its sentences."""

    sentences: list[CountedSentence]
    self_praise: Sentence | None
    """The first sentence that praises the speaker, or None."""
    sentence_lengths: list[int]
    """Number of words of each sentence, longest first. Includes dropped sentences."""
    vague_terms: int
    """Number of vague terms in the whole text."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """Tokens of the scored clauses of all sentences."""
        return tuple(token for one in self.sentences for token in one.tokens)

    @property
    def informative_text(self) -> str:
        """The sentences with a concrete number, a past event, or more content words than vague
        terms."""
        return " ".join(one.sentence.text for one in self.sentences if _is_informative(one))


def parse(answer: Answer) -> ParsedAnswer:
    """Return the part of the answer that is scored."""
    sentences = split_sentences(answer.text)
    kept, self_praise = [], None
    for sentence in sentences:
        plain = " ".join(sentence.tokens)
        if (
            is_prompt_injection(sentence)
            or _addresses_scorer(plain)
            or _LISTENER_PRAISE.search(plain)
        ):
            continue
        if _SELF_PRAISE.search(plain):
            self_praise = self_praise or sentence
        else:
            kept.append(sentence)
    lengths = sorted((len(sentence.tokens) for sentence in sentences), reverse=True)
    vague = len(VAGUE_TERMS.findall(" ".join(tokenize(answer.text))))
    return ParsedAnswer(_without_repetition(kept), self_praise, lengths, vague)


def _addresses_scorer(plain: str) -> bool:
    if _ADDRESSES_SCORER.search(plain):
        return True
    is_marked = _GRADE_TERMS.search(plain) or NUMBER.search(plain)
    return bool(_SCORING_TERMS.search(plain) and is_marked and not has_past_event(plain.split()))


def _is_informative(one: CountedSentence) -> bool:
    plain = " ".join(one.tokens)
    if concrete_numbers(one.clauses) or has_past_event(one.tokens):
        return True
    return len(content_words(one.tokens)) > len(VAGUE_TERMS.findall(plain))


def _without_repetition(sentences: list[Sentence]) -> list[CountedSentence]:
    """Drop the clauses that repeat an earlier sentence or clause."""
    counted: list[CountedSentence] = []
    seen_in: dict[str, set[int]] = defaultdict(set)
    for number, sentence in enumerate(sentences):
        kept = []
        for clause in map(tokenize, _CLAUSE.split(sentence.text)):
            content = set(clause) - COMMON_WORDS
            shared = Counter(earlier for word in content for earlier in seen_in.get(word, ()))
            if content and max(shared.values(), default=0) / len(content) >= _REPEAT_OVERLAP:
                continue
            for word in content:
                seen_in[word].add(number)
            if clause:
                kept.append(clause)
        if kept:
            counted.append(CountedSentence(sentence, tuple(kept)))
    return counted
