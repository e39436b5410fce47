"""Answers from a small handbook of interview craft (`handbook/entries.yaml`), by retrieval."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from coach_ai.domain import Message, PastSession
from coach_ai.evidence import tokens_of

_ENOUGH = 0.10
_UNKNOWN_IDF = 1.5
_GREETING = re.compile(r"^\W*(hi|hello|hey|good (morning|evening|afternoon))\b[^?]{0,20}$", re.I)
_OWN = re.compile(
    r"\b(my (last|past|previous|feedback|score|session|weak|answers?)|how am i doing)\b"
)
_INTERVIEW = frozenset(
    [
        "interview",
        "interviewer",
        "answer",
        "question",
        "job",
        "role",
        "hiring",
        "recruiter",
        "offer",
        "salary",
        "resume",
        "cv",
        "star",
        "practise",
        "practice",
        "candidate",
        "company",
        "strength",
        "weakness",
        "behavioural",
        "behavioral",
    ]
)
_STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "i",
        "you",
        "me",
        "my",
        "to",
        "of",
        "in",
        "on",
        "and",
        "or",
        "is",
        "are",
        "do",
        "does",
        "did",
        "how",
        "what",
        "when",
        "why",
        "should",
        "would",
        "can",
        "could",
        "it",
        "that",
        "this",
        "for",
        "with",
        "about",
        "be",
        "have",
        "has",
        "as",
        "at",
        "if",
        "so",
        "your",
        "tell",
        "give",
    ]
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One piece of craft."""

    title: str
    text: str
    weights: dict[str, float]


def reply(conversation: Sequence[Message], past: Sequence[PastSession]) -> str:
    """Return the handbook's answer to the last message, or say that there is none."""
    asked = conversation[-1].text
    lowered = asked.lower()
    if _OWN.search(lowered):
        return _about(past)
    if _GREETING.match(asked):
        titles = ", ".join(entry.title.lower() for entry in _entries()[:4])
        return (
            f"Hello! Ask me about your next interview: {titles}, or anything you want to practise."
        )
    found, nearness = _nearest(asked)
    if nearness < _ENOUGH and len(conversation) > 2:
        # A short follow-up means the topic of what was asked before.
        before = [message.text for message in conversation[:-1] if message.role == "user"]
        found, nearness = _nearest(f"{before[-1]} {asked}") if before else (found, nearness)
    if nearness < _ENOUGH:
        if not _INTERVIEW & set(tokens_of(asked)):
            return (
                "I am an interview coach and keep to that. Ask me how to structure an answer, how"
                " to prepare, or what to do about something in your last session."
            )
        return (
            "I do not have a good answer to that one. I do know about "
            + ", ".join(entry.title.lower() for entry in _entries())
            + "."
        )
    own = _own_remark(found, past)
    return f"{found.title}: {found.text}{own}"


def _about(past: Sequence[PastSession]) -> str:
    if not past:
        return "You have no judged session yet. Record an answer, and I can tell you about it."
    last = past[0]
    score = "was not scored" if last.overall_score is None else f"scored {last.overall_score}"
    remarks = " ".join(last.improvements[:2])
    judged = f"Your last session, “{last.title}”, {score}."
    return (
        f"{judged} To work on: {remarks}" if remarks else f"{judged} Nothing stood out to change."
    )


def _own_remark(entry: Entry, past: Sequence[PastSession]) -> str:
    for session in past:
        for remark in session.improvements:
            if _nearness(Counter(_content(remark)), entry) >= _ENOUGH:
                return f" In “{session.title}” this came up too: {remark}"
    return ""


def _nearest(text: str) -> tuple[Entry, float]:
    counts = Counter(_content(text))
    return max(((entry, _nearness(counts, entry)) for entry in _entries()), key=lambda one: one[1])


def _nearness(counts: Counter[str], entry: Entry) -> float:
    """Return the cosine of TF-IDF vectors."""
    length = math.sqrt(
        sum((count * _idf().get(word, _UNKNOWN_IDF)) ** 2 for word, count in counts.items())
    )
    if not length:
        return 0.0
    dot = sum(
        count * _idf().get(word, _UNKNOWN_IDF) * entry.weights.get(word, 0.0)
        for word, count in counts.items()
    )
    return dot / length


def _content(text: str) -> list[str]:
    return [_stem(token) for token in tokens_of(text) if token not in _STOP]


def _stem(token: str) -> str:
    for ending in ("ing", "ies", "es", "s", "ed"):
        if token.endswith(ending) and len(token) - len(ending) >= 3:
            return token[: -len(ending)]
    return token


@cache
def _raw() -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    data = yaml.safe_load((files("coach_ai") / "handbook" / "entries.yaml").read_text())
    return tuple(
        (
            one["title"],
            one["text"].strip(),
            tuple(_content(f"{one['title']} " * 3 + one["words"] * 2 + one["text"])),
        )
        for one in data
    )


@cache
def _idf() -> dict[str, float]:
    documents = [set(words) for _, _, words in _raw()]
    return {
        word: math.log((1 + len(documents)) / (1 + sum(word in one for one in documents))) + 1
        for word in set().union(*documents)
    }


@cache
def _entries() -> tuple[Entry, ...]:
    entries = []
    for title, text, words in _raw():
        weights = {word: count * _idf()[word] for word, count in Counter(words).items()}
        length = math.sqrt(sum(weight**2 for weight in weights.values()))
        entries.append(
            Entry(title, text, {word: weight / length for word, weight in weights.items()})
        )
    return tuple(entries)
