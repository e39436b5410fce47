"""The handbook of interview craft (`handbook/*.md`), and the search in it: BM25 over fields, and
nearness in meaning where there are embeddings."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import yaml

from coach_ai.adapters.embeddings import Embeddings
from coach_ai.evidence import tokens_of

# BM25's usual constants (Robertson and Zaragoza, 2009); a word counts by where it stands.
_K1, _B = 1.2, 0.5
_FIELD_WEIGHTS = {"title": 3, "keywords": 3, "questions": 2, "text": 1}
_PHRASE_BONUS = 2.5
_ASIDE, _UNKNOWN, _ELSEWHERE = 0.15, 2.5, 14.0
"""How much a word matters that an entry only mentions (a part of its own weight), that no entry
has, and that speaks for another subject. All of these were found on the questions under `seen` in
`tests/questions.yaml`."""
_MEANING, _ANY_MEANING = 40.0, 0.25
"""What nearness in meaning counts for (a cosine of one, as much as ten rare words), and how near
any two things that people ask may be. Found on `seen` and `off_topic`."""
_ENOUGH = 0.3
"""The share of a question's weight that the nearest entry must be about."""

_TRADE = frozenset(
    ("interview", "interviewer", "interviewing", "answer", "question", "ask", "work", "job")
)
"""Words of the trade: they say that a question is ours, and not which one it is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One piece of craft: what to do, an example, and how to practise it."""

    name: str
    title: str
    advice: str
    example: str
    drill: str
    asked: tuple[str, ...]
    """Its title, and the question as people put it."""
    about: str
    """Its title and its keywords."""
    phrases: tuple[str, ...]
    weights: dict[str, float]
    """Of each stem: how much the entry is about it."""
    subject: frozenset[str]
    """The stems that it is found by; those of its text alone only help to rank."""


@dataclass(frozen=True, slots=True)
class Found:
    """An entry, and how much of the question it is about: 0 to 1."""

    entry: Entry
    score: float
    share: float

    @property
    def is_enough(self) -> bool:
        """Tell whether it is an answer."""
        return self.share >= _ENOUGH

    @property
    def is_near(self) -> bool:
        """Tell whether it might be meant."""
        return self.share >= _ENOUGH / 2


def search(question: str, embeddings: Embeddings | None = None) -> list[Found]:
    """Return all entries, the nearest first."""
    near = _nearness(question, embeddings)
    words = dict.fromkeys(stems_of(question))
    plain = _in_a_row(question)
    idf = _idf()
    total = sum(_weight(word, idf) for word in words)
    found = []
    for entry in entries():
        phrases = [phrase for phrase in entry.phrases if phrase in plain]
        # A phrase may be made of words that say nothing alone: "you know", "no idea".
        bonus = sum(_PHRASE_BONUS * len(phrase.split()) for phrase in phrases)
        spoken = frozenset(word for phrase in phrases for word in phrase.split())
        met = bonus
        score = bonus
        for word in words:
            if word in entry.weights:
                score += idf[word] * entry.weights[word]
                is_subject = word in entry.subject or word in spoken
                met += _weight(word, idf) * (1.0 if is_subject else _ASIDE)
        share = met / (bonus + total) if met else 0.0
        if entry.name in near:
            score += _MEANING * near[entry.name]
            share += near[entry.name] - _ANY_MEANING
        found.append(Found(entry, score, share))
    return sorted(found, key=lambda one: one.score, reverse=True)


def _nearness(question: str, embeddings: Embeddings | None) -> dict[str, float]:
    """Return of each entry how near it is in meaning: its nearest question, and its keywords."""
    if embeddings is None:
        return {}
    (meant,) = embeddings.of([question])
    asked = [(entry.name, text) for entry in entries() for text in entry.asked]
    nearest: dict[str, float] = {}
    for (name, _), cosine in zip(
        asked, embeddings.kept(tuple(text for _, text in asked)) @ meant, strict=True
    ):
        nearest[name] = max(nearest.get(name, -1.0), float(cosine))
    about = embeddings.kept(tuple(entry.about for entry in entries())) @ meant
    return {
        entry.name: (nearest[entry.name] + float(cosine)) / 2
        for entry, cosine in zip(entries(), about, strict=True)
    }


def is_of_the_trade(text: str) -> bool:
    """Tell whether a text speaks of interviews at all."""
    return not _trade().isdisjoint(map(_stem, tokens_of(text)))


def is_of_another_subject(text: str) -> bool:
    """Tell whether a text has words that belong somewhere else."""
    return not _elsewhere().isdisjoint(stems_of(text))


def shares_a_word(text: str, entry: Entry) -> bool:
    """Tell whether a text has anything to do with what an entry is about."""
    return any(stem in entry.subject for stem in stems_of(text)) or any(
        phrase in _in_a_row(text) for phrase in entry.phrases
    )


@cache
def entries() -> tuple[Entry, ...]:
    """Return the handbook, read once."""
    return tuple(_indexed([_read(file.name, file.read_text("utf-8")) for file in _files()]))


def stems_of(text: str) -> list[str]:
    """Return the words that say what a text is about."""
    kept = (_stem(word) for word in tokens_of(text) if word not in _stop_words())
    return [stem for stem in kept if stem and stem not in _trade()]


@cache
def _stop_words() -> frozenset[str]:
    return frozenset((files("coach_ai") / "handbook" / "stop.txt").read_text("utf-8").split())


@cache
def _trade() -> frozenset[str]:
    return frozenset(map(_stem, _TRADE))


def _in_a_row(text: str) -> str:
    return f" {' '.join(_stem(word) for word in tokens_of(text))} "


@dataclass(frozen=True, slots=True)
class _Page:
    name: str
    title: str
    keywords: str
    questions: tuple[str, ...]
    paragraphs: tuple[str, str, str]


def _files() -> list[Traversable]:
    folder = files("coach_ai") / "handbook"
    return sorted(
        (one for one in folder.iterdir() if one.name.endswith(".md")), key=lambda one: one.name
    )


def _read(name: str, text: str) -> _Page:
    _, head, body = text.split("---\n", 2)
    about = yaml.safe_load(head)
    advice, example, drill = (" ".join(part.split()) for part in body.strip().split("\n\n"))
    return _Page(
        name.removesuffix(".md"),
        about["title"],
        about["keywords"],
        tuple(about["questions"]),
        (advice, example.removeprefix("Example: "), drill.removeprefix("Practise: ")),
    )


def _indexed(pages: Sequence[_Page]) -> list[Entry]:
    counted = []
    for page in pages:
        counts: Counter[str] = Counter()
        fields = {
            "title": page.title,
            "keywords": page.keywords,
            "questions": " ".join(page.questions),
            "text": " ".join(page.paragraphs),
        }
        for field, text in fields.items():
            for stem in stems_of(text):
                counts[stem] += _FIELD_WEIGHTS[field]
        counted.append(counts)
    usual = sum(counts.total() for counts in counted) / len(counted)
    found = []
    for page, counts in zip(pages, counted, strict=True):
        length = _K1 * (1 - _B + _B * counts.total() / usual)
        keywords = [_in_a_row(one) for one in page.keywords.split(",")]
        found.append(
            Entry(
                page.name,
                page.title,
                *page.paragraphs,
                asked=(page.title, *page.questions),
                about=f"{page.title}: {' '.join(page.keywords.split())}",
                phrases=tuple(one for one in keywords if " " in one.strip()),
                weights={
                    stem: count * (_K1 + 1) / (count + length) for stem, count in counts.items()
                },
                subject=frozenset(
                    stems_of(page.title)
                    + [one.strip() for one in keywords if " " not in one.strip()]
                ),
            )
        )
    return found


@cache
def _idf() -> dict[str, float]:
    subjects = [entry.weights.keys() for entry in entries()]
    return {
        stem: math.log(
            1 + (len(subjects) - (n := sum(stem in one for one in subjects)) + 0.5) / (n + 0.5)
        )
        for stem in set().union(*subjects)
    }


def _weight(stem: str, idf: dict[str, float]) -> float:
    """Return how much a word of the question matters: one of another subject most of all."""
    return _ELSEWHERE if stem in _elsewhere() else idf.get(stem, _UNKNOWN)


@cache
def _elsewhere() -> frozenset[str]:
    """Return the words that speak for another subject, unless an entry is about them."""
    words = (files("coach_ai") / "handbook" / "elsewhere.txt").read_text("utf-8")
    ours = frozenset[str]().union(*(entry.subject for entry in entries()))
    return frozenset(stems_of(words)) - ours


_ENDINGS = (
    ("ational", "ate"), ("ization", "ize"), ("isation", "ize"), ("fulness", "ful"),
    ("iness", "y"), ("ness", ""), ("ments", ""), ("ment", ""), ("ations", ""), ("ation", ""),
    ("ingly", ""), ("edly", ""), ("ities", ""), ("ity", ""), ("ies", "y"), ("ied", "y"),
    ("ying", "y"), ("ings", ""), ("ing", ""), ("ions", ""), ("ion", ""), ("ers", ""), ("er", ""),
    ("ors", ""), ("or", ""), ("ly", ""), ("es", ""), ("ed", ""), ("al", ""), ("s", ""), ("e", ""),
    ("y", ""),
)  # fmt: skip


def _stem(word: str) -> str:
    """Return what words of one family have in common, roughly."""
    word = re.sub(r"'(s|ve|ll|d|re|m)?$", "", word)
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: len(word) - len(ending)] + instead
            break
    word = re.sub(r"([bdgklmnprt])\1$", r"\1", word)
    return word.rstrip("ey") if len(word) > 3 else word
