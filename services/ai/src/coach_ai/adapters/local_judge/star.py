"""The parts of a story: situation, task, the steps that the speaker took, and what came of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from coach_ai.adapters.local_judge.reading import Said
from coach_ai.adapters.local_judge.words import (
    NUMBER,
    STATES,
    figures,
    is_past,
    names,
    stands_between,
)
from coach_ai.evidence import Sentence

PARTS = ("situation", "task", "action", "result")

_ME = frozenset(("i", "we", "i'd", "i've", "we'd", "we've"))
_OTHERS = frozenset(
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
_GOES_ON = _ME | frozenset(
    ("he", "she", "it", "they", "them", "him", "her", "me", "us", "everyone", "everybody", "nobody")
)
_OPENING = 2
"""The place of the last sentence that may set the scene."""
_JOINS = frozenset(("and", "then", "but", "so"))
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
_STANDS = re.compile(r"\b(now|still|never|no longer|not once|today)\b")
_CHANGE = re.compile(
    r"\b((went|fell|dropped|rose|grew|reduced|increased|improved|decreased|gone|got|brought|cut)"
    r" ((?!\bi\b|\bwe\b)[^.,]){0,60}\b(from .{0,40} to|to|by|down|up)\b|(down|up) from|instead of"
    r"|saved|shipped|delivered|launched|finished|won|passed|promoted|accepted|approved|stopped"
    r"|disappeared|sold)\b"
)


@dataclass(frozen=True, slots=True)
class Story:
    """The sentences that tell each part, and the figures of what came of it."""

    parts: dict[str, list[Sentence]]
    steps: int
    """How many things the speaker did that name something."""
    vague_steps: int
    measured: list[Sentence] = field(default_factory=list)
    is_told: bool = False
    """Whether what came of it is told in so many words, not only by what stands last."""


def find(said: Sequence[Said]) -> Story:
    """Return the story; each part is empty where it is not told.

    The scene stands before the first step. What came of it stands behind one: said to be so, or
    after the last step, of somebody or something that the story is about."""
    steps = [_steps(one) for one in said]
    at = [place for place, (concrete, vague) in enumerate(steps) if concrete or vague]
    first, last = (at[0], at[-1]) if at else (len(said), len(said))
    parts: dict[str, list[Sentence]] = {part: [] for part in PARTS}
    measured: list[Sentence] = []
    is_told = False
    known: set[str] = set()
    for place, one in enumerate(said):
        plain = " ".join(one.tokens)
        has_figure = bool(figures(one.clauses))
        if _TASK.search(plain):
            parts["task"].append(one.sentence)
        if place in at and (steps[place][0] or not any(concrete for concrete, _ in steps)):
            parts["action"].append(one.sentence)
        if place <= min(first, _OPENING) and (has_figure or _has_past(one)):
            parts["situation"].append(one.sentence)
        says_so = bool(_OUTCOME.search(plain))
        if at:
            says_so = says_so or bool(_CHANGE.search(plain) or _STANDS.search(plain))
        ends = place > last and (has_figure or (_has_past(one) and _is_about(one, known)))
        if ends or (says_so and (place > first or place in at or (not at and place))):
            parts["result"].append(one.sentence)
            is_told = is_told or says_so
            if has_figure:
                measured.append(one.sentence)
        known |= names(one.tokens)
    concrete, vague = (sum(pair[i] for pair in steps) for i in (0, 1))
    return Story(parts, concrete, vague, measured, is_told)


def _steps(one: Said) -> tuple[int, int]:
    """Return how many steps of the speaker a sentence tells: those that name something, and not.

    A step is “I” or “we” with a verb in the past, or one more such verb joined to it."""
    begun: list[tuple[int, int]] = []
    flat: list[tuple[str, bool]] = [
        (token, index == 0) for clause in one.clauses for index, token in enumerate(clause)
    ]
    is_me = bool(flat) and is_past(flat[0][0]) and flat[0][0] not in STATES
    for index, (token, _) in enumerate(flat):
        if token in _ME:
            is_me = True
        elif token in _OTHERS:
            is_me = False
        elif is_me and is_past(token) and token not in STATES and _follows(flat, index):
            begun.append((index, index + 1))
    concrete = vague = 0
    for number, (_, after) in enumerate(begun):
        end = begun[number + 1][0] if number + 1 < len(begun) else len(flat)
        rest = [token for token, _ in flat[after:end]]
        if names(rest) or NUMBER.search(" ".join(rest)):
            concrete += 1
        else:
            vague += 1
    return concrete, vague


def _follows(flat: Sequence[tuple[str, bool]], index: int) -> bool:
    """Return whether the verb there belongs to “I”: right behind it, joined, or after a comma."""
    at = index - 1
    begins_clause = flat[index][1]
    while at >= 0 and stands_between(flat[at][0]) and flat[at][0] not in _JOINS:
        begins_clause = begins_clause or flat[at][1]
        at -= 1
    if at < 0 or begins_clause:
        return True
    token = flat[at][0]
    if at and names([token]) and flat[at - 1][0] in _ME:
        return True  # we load-tested
    if token in _ME:
        return at == 0 or flat[at - 1][0] not in ("what", "that", "which")
    return token in _JOINS


def _is_about(one: Said, known: set[str]) -> bool:
    return bool(known & names(one.tokens) or _GOES_ON & set(one.tokens))


def _has_past(one: Said) -> bool:
    return any(t in ("was", "were", "had", "got") or is_past(t) for t in one.tokens)
