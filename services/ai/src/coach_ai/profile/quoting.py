"""Chooses the sentence of a résumé that the interviewer quotes. The sentence is data."""

import re
from collections.abc import Sequence

from coach_ai.chat.sanitizer import sanitize
from coach_ai.domain import Profile
from coach_ai.profile.passages import split_passages
from coach_ai.scoring.answer_validation import strip_injections
from coach_ai.text import tokenize

MAX_QUOTE_CHARACTERS = 200
MAX_EXCERPT_CHARACTERS = 300
_MIN_QUOTE_WORDS = 5
_CONTACT = re.compile(r"@|https?:|www\.|\d[\d ()/+-]{6,}\d")
_MIN_WORD_LENGTH = 4


def list_quotable(resume: str) -> list[str]:
    """Return the sentences that may be quoted, verbatim.

    Instructions to an evaluator, markup, contact data and fragments are left out.
    """
    return [one for one in split_passages(resume) if _is_quotable(one)]


def choose_quote(profile: Profile, question: str) -> str:
    """Return the quotable sentence with the most words of the question and the job, or "".

    Of several, the first one is returned.
    """
    quotable = list_quotable(profile.resume)
    if not quotable:
        return ""
    asked = _words(question)
    wanted = _words(
        " ".join((profile.target_role, profile.job_title, *profile.skills, profile.job_description))
    )

    def count(sentence: str) -> int:
        words = _words(sentence)
        return 2 * len(words & asked) + len(words & wanted)

    return max(quotable, key=count)


def choose_similar_quote(quotable: Sequence[str], similarities: Sequence[float]) -> str:
    """Return the sentence with the highest similarity, or "" without any."""
    ranked = zip(similarities, quotable, strict=True)
    return max(ranked, key=lambda one: one[0], default=(0.0, ""))[1]


def make_excerpt(job_description: str) -> str:
    """Return the beginning of a job description, cut between words."""
    text = " ".join(job_description.split())
    if len(text) <= MAX_EXCERPT_CHARACTERS:
        return text
    end = text.rfind(" ", 0, MAX_EXCERPT_CHARACTERS)
    return text[: end if end > 0 else MAX_EXCERPT_CHARACTERS - 1].rstrip(",;:") + "…"


def _is_quotable(sentence: str) -> bool:
    return (
        len(sentence) <= MAX_QUOTE_CHARACTERS
        and len(sentence.split()) >= _MIN_QUOTE_WORDS
        and not _CONTACT.search(sentence)
        and sanitize(sentence).strip() == sentence
        and strip_injections(sentence).strip() == sentence
    )


def _words(text: str) -> frozenset[str]:
    return frozenset(word for word in tokenize(text) if len(word) >= _MIN_WORD_LENGTH)
