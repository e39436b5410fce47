"""The knowledge base of interview advice (`articles/*.md`), and its search.

Search combines BM25 over fields with embedding similarity, if embeddings are available.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import yaml

from coach_ai.embeddings import Embeddings
from coach_ai.text import tokenize

_MAX_EMBEDDED_CHARACTERS = 2_000
"""Characters of a message that are embedded. The time to embed grows with its length."""
# The usual constants of BM25 (Robertson and Zaragoza, 2009), and the weights of an article's
# fields.
_K1, _B = 1.2, 0.5
_FIELD_WEIGHTS = {"title": 3, "keywords": 3, "questions": 2, "text": 1}
_PHRASE_BONUS = 2.5
_BODY_ONLY_WEIGHT, _UNKNOWN_WEIGHT, _OFF_TOPIC_WEIGHT = 0.15, 2.5, 14.0
"""Weight of a term that occurs in an article's body only (as a share of its IDF), of a term that no
article contains, and of an off-topic term. Tuned on the questions under `seen` in
`tests/questions.yaml`."""
_SIMILARITY_WEIGHT, _BASE_SIMILARITY = 40.0, 0.25
"""Weight of a cosine similarity of 1 (as much as ten rare terms), and the similarity that any two
questions may have. Tuned on `seen` and `off_topic`."""
_MIN_SHARE = 0.3
"""Share of a question's weight that an article must cover to be a match."""

_INTERVIEW_TERMS = frozenset(
    ("interview", "interviewer", "interviewing", "answer", "question", "ask", "work", "job")
)
"""Terms that show that a question is about interviews, but not which article answers it."""


@dataclass(frozen=True, slots=True)
class Article:
    """An article: advice, an example and an exercise."""

    name: str
    title: str
    advice: str
    example: str
    drill: str
    questions: tuple[str, ...]
    """Its title, and questions that it answers."""
    topic: str
    """Its title and keywords, for embeddings."""
    phrases: tuple[str, ...]
    weights: dict[str, float]
    """BM25 term weight of each stem."""
    subject_stems: frozenset[str]
    """Stems of its title and keywords. Other stems of the text affect the ranking only."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """An article, its rank score, and the share of the question that it covers (0 to 1)."""

    article: Article
    score: float
    share: float

    @property
    def is_match(self) -> bool:
        """True if the article answers the question."""
        return self.share >= _MIN_SHARE

    @property
    def is_candidate(self) -> bool:
        """True if the article may be related to the question."""
        return self.share >= _MIN_SHARE / 2


def search(question: str, embeddings: Embeddings | None = None) -> list[SearchResult]:
    """Return all articles, best first."""
    similarities = article_similarities(question, embeddings)
    words = dict.fromkeys(content_stems(question))
    stemmed = _stemmed_text(question)
    idf = _idf()
    total = sum(_weight(word, idf) for word in words)
    results = []
    for article in load_articles():
        phrases = [phrase for phrase in article.phrases if phrase in stemmed]
        # A phrase may consist of stop words only: "you know", "no idea".
        bonus = sum(_PHRASE_BONUS * len(phrase.split()) for phrase in phrases)
        phrase_words = frozenset(word for phrase in phrases for word in phrase.split())
        matched = bonus
        score = bonus
        for word in words:
            if word in article.weights:
                score += idf[word] * article.weights[word]
                is_subject = word in article.subject_stems or word in phrase_words
                matched += _weight(word, idf) * (1.0 if is_subject else _BODY_ONLY_WEIGHT)
        share = matched / (bonus + total) if matched else 0.0
        if article.name in similarities:
            score += _SIMILARITY_WEIGHT * similarities[article.name]
            share += similarities[article.name] - _BASE_SIMILARITY
        results.append(SearchResult(article, score, share))
    return sorted(results, key=lambda one: one.score, reverse=True)


def article_similarities(question: str, embeddings: Embeddings | None) -> dict[str, float]:
    """Return the similarity of each article: the mean for its closest question and its topic."""
    if embeddings is None:
        return {}
    (vector,) = embeddings.encode([question[:_MAX_EMBEDDED_CHARACTERS]])
    questions = [(article.name, text) for article in load_articles() for text in article.questions]
    nearest: dict[str, float] = {}
    for (name, _), cosine in zip(
        questions, embeddings.cached(tuple(text for _, text in questions)) @ vector, strict=True
    ):
        nearest[name] = max(nearest.get(name, -1.0), float(cosine))
    topics = embeddings.cached(tuple(article.topic for article in load_articles())) @ vector
    return {
        article.name: (nearest[article.name] + float(cosine)) / 2
        for article, cosine in zip(load_articles(), topics, strict=True)
    }


def is_interview_related(text: str) -> bool:
    """True if a text contains a term about interviews."""
    return not _interview_stems().isdisjoint(map(_stem, tokenize(text)))


def is_off_topic(text: str) -> bool:
    """True if a text contains an off-topic term."""
    return not _off_topic_stems().isdisjoint(content_stems(text))


def shares_subject(text: str, article: Article) -> bool:
    """True if a text contains a subject stem or a phrase of an article."""
    return any(stem in article.subject_stems for stem in content_stems(text)) or any(
        phrase in _stemmed_text(text) for phrase in article.phrases
    )


@cache
def load_articles() -> tuple[Article, ...]:
    """Return the articles. They are read once."""
    return tuple(
        _index([_parse_page(file.name, file.read_text("utf-8")) for file in _article_files()])
    )


def content_stems(text: str) -> list[str]:
    """Return the stems of a text without stop words and terms about interviews."""
    kept = (_stem(word) for word in tokenize(text) if word not in _stop_words())
    return [stem for stem in kept if stem and stem not in _interview_stems()]


@cache
def _stop_words() -> frozenset[str]:
    return frozenset(
        (files("coach_ai.chat") / "articles" / "stop_words.txt").read_text("utf-8").split()
    )


@cache
def _interview_stems() -> frozenset[str]:
    return frozenset(map(_stem, _INTERVIEW_TERMS))


def _stemmed_text(text: str) -> str:
    return f" {' '.join(_stem(word) for word in tokenize(text))} "


@dataclass(frozen=True, slots=True)
class _Page:
    name: str
    title: str
    keywords: str
    questions: tuple[str, ...]
    paragraphs: tuple[str, str, str]


def _article_files() -> list[Traversable]:
    folder = files("coach_ai.chat") / "articles"
    return sorted(
        (one for one in folder.iterdir() if one.name.endswith(".md")), key=lambda one: one.name
    )


def _parse_page(name: str, text: str) -> _Page:
    _, front_matter, body = text.split("---\n", 2)
    header = yaml.safe_load(front_matter)
    advice, example, drill = (" ".join(part.split()) for part in body.strip().split("\n\n"))
    return _Page(
        name.removesuffix(".md"),
        header["title"],
        header["keywords"],
        tuple(header["questions"]),
        (advice, example.removeprefix("Example: "), drill.removeprefix("Practise: ")),
    )


def _index(pages: Sequence[_Page]) -> list[Article]:
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
            for stem in content_stems(text):
                counts[stem] += _FIELD_WEIGHTS[field]
        counted.append(counts)
    average = sum(counts.total() for counts in counted) / len(counted)
    articles = []
    for page, counts in zip(pages, counted, strict=True):
        length = _K1 * (1 - _B + _B * counts.total() / average)
        keywords = [_stemmed_text(one) for one in page.keywords.split(",")]
        articles.append(
            Article(
                page.name,
                page.title,
                *page.paragraphs,
                questions=(page.title, *page.questions),
                topic=f"{page.title}: {' '.join(page.keywords.split())}",
                phrases=tuple(one for one in keywords if " " in one.strip()),
                weights={
                    stem: count * (_K1 + 1) / (count + length) for stem, count in counts.items()
                },
                subject_stems=frozenset(
                    content_stems(page.title)
                    + [one.strip() for one in keywords if " " not in one.strip()]
                ),
            )
        )
    return articles


@cache
def _idf() -> dict[str, float]:
    stem_sets = [entry.weights.keys() for entry in load_articles()]
    return {
        stem: math.log(
            1 + (len(stem_sets) - (n := sum(stem in one for one in stem_sets)) + 0.5) / (n + 0.5)
        )
        for stem in set().union(*stem_sets)
    }


def _weight(stem: str, idf: dict[str, float]) -> float:
    """Return the weight of a term of the question. Off-topic terms weigh most."""
    return _OFF_TOPIC_WEIGHT if stem in _off_topic_stems() else idf.get(stem, _UNKNOWN_WEIGHT)


@cache
def _off_topic_stems() -> frozenset[str]:
    """Return the off-topic stems, without those that an article is about."""
    words = (files("coach_ai.chat") / "articles" / "off_topic_terms.txt").read_text("utf-8")
    subjects = frozenset[str]().union(*(entry.subject_stems for entry in load_articles()))
    return frozenset(content_stems(words)) - subjects


_ENDINGS = (
    ("ational", "ate"), ("ization", "ize"), ("isation", "ize"), ("fulness", "ful"),
    ("iness", "y"), ("ness", ""), ("ments", ""), ("ment", ""), ("ations", ""), ("ation", ""),
    ("ingly", ""), ("edly", ""), ("ities", ""), ("ity", ""), ("ies", "y"), ("ied", "y"),
    ("ying", "y"), ("ings", ""), ("ing", ""), ("ions", ""), ("ion", ""), ("ers", ""), ("er", ""),
    ("ors", ""), ("or", ""), ("ly", ""), ("es", ""), ("ed", ""), ("al", ""), ("s", ""), ("e", ""),
    ("y", ""),
)  # fmt: skip


def _stem(word: str) -> str:
    """Return an approximate stem of a word."""
    word = re.sub(r"'(s|ve|ll|d|re|m)?$", "", word)
    for ending, replacement in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: len(word) - len(ending)] + replacement
            break
    word = re.sub(r"([bdgklmnprt])\1$", r"\1", word)
    return word.rstrip("ey") if len(word) > 3 else word
