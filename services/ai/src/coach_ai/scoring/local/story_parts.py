"""The parts of a story: situation, task, the steps that the speaker took, and the result."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from coach_ai.scoring.local.parsed_answer import CountedSentence
from coach_ai.scoring.local.word_classes import (
    NUMBER,
    STATIVE_VERBS,
    concrete_numbers,
    content_words,
    is_filler_between,
    is_past,
)
from coach_ai.text import Sentence

PARTS = ("situation", "task", "action", "result")

_FIRST_PERSON = frozenset(("i", "we", "i'd", "i've", "we'd", "we've"))
_OTHER_SUBJECTS = frozenset(
    [
        "he",
        "she",
        "it",
        "they",
        "you",
        "that",
        "which",
        "who",
        "there",
        "this",
        "nobody",
        "everyone",
    ]
)
_CONTINUING_PRONOUNS = _FIRST_PERSON | frozenset(
    ("he", "she", "it", "they", "them", "him", "her", "me", "us", "everyone", "everybody", "nobody")
)
_LAST_OPENING_SENTENCE = 2
"""Index of the last sentence that may be the situation."""
_CONJUNCTIONS = frozenset(("and", "then", "but", "so"))
_TASK = re.compile(
    r"\b((asked|told|wanted|needed|expected) (me|us) to|i was (asked|responsible|given|assigned"
    r"|told|in charge|supposed|the \w+)|i('m| am| was) (the|a) ([\w-]+ )?(lead|manager|head|chief"
    r"|boss|owner)|(my|our) (own )?(job|task|role|goal|part|aim|responsibility|target)\b"
    r"|(i|we) (had|needed|wanted|have|need) to|the (goal|aim|task|target) was|up to me|on me to"
    r"|(was|were) asked to|in charge of)\b"
)
_OUTCOME = re.compile(
    r"\b(as a result|in the end|since then|from then on|because of that|the result|ended up"
    r"|which meant|eventually|finally|by the end|ever since|from that day|these days|nowadays"
    r"|(days?|weeks?|months?|years?|quarters?) (later|after)|the (next|following) (day|week|month"
    r"|year|quarter))\b"
)
_STATE_MARKERS = re.compile(r"\b(now|still|never|no longer|not once|today)\b")
_CHANGE = re.compile(
    r"\b((went|fell|dropped|rose|grew|reduced|increased|improved|decreased|gone|got|brought|cut)"
    r" ((?!\bi\b|\bwe\b)[^.,]){0,60}\b(from .{0,40} to|to|by|down|up)\b|(down|up) from|instead of"
    r"|saved|shipped|delivered|launched|finished|won|passed|promoted|accepted|approved|stopped"
    r"|disappeared|sold)\b"
)


@dataclass(frozen=True, slots=True)
class Story:
    """The sentences of each part, and the results that contain a number."""

    parts: dict[str, list[Sentence]]
    steps: int
    """Number of steps of the speaker that contain content words or numbers."""
    vague_steps: int
    """Number of the other steps."""
    measured_results: list[Sentence] = field(default_factory=list)
    has_explicit_result: bool = False
    """True if a result is marked by its wording, not only by its position after the last step."""


def extract_story(sentences: Sequence[CountedSentence]) -> Story:
    """Return the story. The list of a missing part is empty.

    The situation comes before the first step. A result comes after a step: either its wording marks
    it, or it follows the last step and continues the story.
    """
    steps = [_count_steps(one) for one in sentences]
    with_step = [index for index, (concrete, vague) in enumerate(steps) if concrete or vague]
    first, last = (with_step[0], with_step[-1]) if with_step else (len(sentences), len(sentences))
    parts: dict[str, list[Sentence]] = {part: [] for part in PARTS}
    measured_results: list[Sentence] = []
    has_explicit_result = False
    known: set[str] = set()
    for index, one in enumerate(sentences):
        plain = " ".join(one.tokens)
        has_figure = bool(concrete_numbers(one.clauses))
        if _TASK.search(plain):
            parts["task"].append(one.sentence)
        if index in with_step and (steps[index][0] or not any(concrete for concrete, _ in steps)):
            parts["action"].append(one.sentence)
        if index <= min(first, _LAST_OPENING_SENTENCE) and (has_figure or _has_past(one)):
            parts["situation"].append(one.sentence)
        is_explicit = bool(_OUTCOME.search(plain))
        if with_step:
            is_explicit = is_explicit or bool(_CHANGE.search(plain) or _STATE_MARKERS.search(plain))
        follows_last_step = index > last and (
            has_figure or (_has_past(one) and _continues_story(one, known))
        )
        if follows_last_step or (
            is_explicit and (index > first or index in with_step or (not with_step and index))
        ):
            parts["result"].append(one.sentence)
            has_explicit_result = has_explicit_result or is_explicit
            if has_figure:
                measured_results.append(one.sentence)
        known |= content_words(one.tokens)
    concrete, vague = (sum(pair[i] for pair in steps) for i in (0, 1))
    return Story(parts, concrete, vague, measured_results, has_explicit_result)


def _count_steps(one: CountedSentence) -> tuple[int, int]:
    """Return the number of the speaker's steps in a sentence: (with content words, without).

    A step is “I” or “we” with a past verb. Further past verbs that are joined to it count too.
    """
    started_steps: list[tuple[int, int]] = []
    flat: list[tuple[str, bool]] = [
        (token, index == 0) for clause in one.clauses for index, token in enumerate(clause)
    ]
    is_me = bool(flat) and is_past(flat[0][0]) and flat[0][0] not in STATIVE_VERBS
    for index, (token, _) in enumerate(flat):
        if token in _FIRST_PERSON:
            is_me = True
        elif token in _OTHER_SUBJECTS:
            is_me = False
        elif (
            is_me
            and is_past(token)
            and token not in STATIVE_VERBS
            and _belongs_to_speaker(flat, index)
        ):
            started_steps.append((index, index + 1))
    concrete = vague = 0
    for number, (_, after) in enumerate(started_steps):
        end = started_steps[number + 1][0] if number + 1 < len(started_steps) else len(flat)
        rest = [token for token, _ in flat[after:end]]
        if content_words(rest) or NUMBER.search(" ".join(rest)):
            concrete += 1
        else:
            vague += 1
    return concrete, vague


def _belongs_to_speaker(flat: Sequence[tuple[str, bool]], index: int) -> bool:
    """True if the verb at `index` belongs to “I” or “we”.

    It does if it follows the pronoun, a conjunction or a comma. Adverbs in between are skipped.
    """
    at = index - 1
    begins_clause = flat[index][1]
    while at >= 0 and is_filler_between(flat[at][0]) and flat[at][0] not in _CONJUNCTIONS:
        begins_clause = begins_clause or flat[at][1]
        at -= 1
    if at < 0 or begins_clause:
        return True
    token = flat[at][0]
    if at and content_words([token]) and flat[at - 1][0] in _FIRST_PERSON:
        return True  # we load-tested
    if token in _FIRST_PERSON:
        return at == 0 or flat[at - 1][0] not in ("what", "that", "which")
    return token in _CONJUNCTIONS


def _continues_story(one: CountedSentence, known: set[str]) -> bool:
    return bool(known & content_words(one.tokens) or _CONTINUING_PRONOUNS & set(one.tokens))


def _has_past(one: CountedSentence) -> bool:
    return any(t in ("was", "were", "had", "got") or is_past(t) for t in one.tokens)
