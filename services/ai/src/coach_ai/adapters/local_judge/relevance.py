"""How far an answer takes up what was asked."""

from coach_ai.adapters.local_judge.themes import spoken_of
from coach_ai.adapters.local_judge.words import COMMON, NUMBER
from coach_ai.evidence import tokens_of


def relevance(question: str | None, transcript: str) -> float:
    """Return how far the answer takes up the question, 0 to 1; half where none is known.

    By the question's own words that it says, and twice as much by its theme where it has one;
    without a theme at least half, since a good answer may share no word with its question."""
    asked = {_stem(t) for t in tokens_of(question or "") if t not in COMMON}
    asked = {stem for stem in asked if not NUMBER.fullmatch(stem)}
    said = tokens_of(transcript)
    spoken = spoken_of(" ".join(tokens_of(question or "")), " ".join(said))
    if not asked:
        return 0.5 if spoken is None else spoken
    share = len(asked & {_stem(t) for t in said}) / len(asked)
    return (1 + share) / 2 if spoken is None else (share + 2 * spoken) / 3


def _stem(token: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if token.endswith(ending) and len(token) - len(ending) >= 3:
            return token[: -len(ending)]
    return token
