"""How far an answer takes up what was asked."""

from coach_ai.evidence import tokens_of

STOP = frozenset(
    """
    a an and are as at be been but by did do for from had has have he her his i if in is it
    its me my not of on or our she so that the their them there they this to us was we were
    what when which who will with would you your about time tell describe give example how
    why
    """.split()  # noqa: SIM905
)

_KIN = (
    {
        "problem",
        "issue",
        "bug",
        "failure",
        "fail",
        "outage",
        "crash",
        "error",
        "broken",
        "incident",
    },
    {"hard", "difficult", "tough", "challenge", "challeng", "tricky", "complex"},
    {"solve", "solv", "fix", "resolve", "resolv", "debug", "repair", "figure"},
    {"conflict", "disagree", "disagreement", "argument", "argue", "tension"},
    {"lead", "led", "leader", "leadership", "manage", "manag", "coach", "mentor"},
    {"team", "colleague", "coworker", "group", "engineer"},
    {"mistake", "fail", "failure", "wrong", "error"},
    {"deadline", "pressure", "late", "urgent", "hurry"},
    {"customer", "client", "user"},
    {"learn", "teach", "taught", "study"},
)


def relevance(question: str | None, transcript: str) -> float:
    """Return the share of the question's words that the answer takes up, they or their kin.

    Half where no question is known."""
    asked = {_stem(token) for token in tokens_of(question or "") if token not in STOP}
    said = {_stem(token) for token in tokens_of(transcript)}
    return len(asked & _with_kin(said)) / len(asked) if asked else 0.5


def _with_kin(stems: set[str]) -> set[str]:
    """Return the stems with the words that mean much the same."""
    return stems.union(*(kin for kin in _KIN if kin & stems)) if stems else stems


def _stem(token: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if token.endswith(ending) and len(token) - len(ending) >= 3:
            return token[: -len(ending)]
    return token
