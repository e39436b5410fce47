"""Relevance: how much of the question an answer takes up."""

from coach_ai.scoring.local.themes import theme_coverage
from coach_ai.scoring.local.word_classes import COMMON_WORDS, NUMBER
from coach_ai.text import tokenize


def relevance(question: str | None, transcript: str) -> float:
    """Return the relevance of an answer, 0 to 1; 0.5 if the question has no terms and no theme.

    Combines the share of the question's terms that the answer contains with the coverage of the
    question's theme, which counts twice. Without a theme the result is at least 0.5, because a
    good answer may share no word with its question.
    """
    question_terms = {_stem(t) for t in tokenize(question or "") if t not in COMMON_WORDS}
    question_terms = {stem for stem in question_terms if not NUMBER.fullmatch(stem)}
    answer_tokens = tokenize(transcript)
    theme_share = theme_coverage(" ".join(tokenize(question or "")), " ".join(answer_tokens))
    if not question_terms:
        return 0.5 if theme_share is None else theme_share
    term_share = len(question_terms & {_stem(t) for t in answer_tokens}) / len(question_terms)
    return (1 + term_share) / 2 if theme_share is None else (term_share + 2 * theme_share) / 3


def _stem(token: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if token.endswith(ending) and len(token) - len(ending) >= 3:
            return token[: -len(ending)]
    return token
