"""Recognises short requests of the candidate, such as "skip". Anything else is an answer."""

import re

from coach_ai.interview.model import Intent
from coach_ai.text import normalise, tokenize

_MAX_REQUEST_WORDS = 12

_POLITE = (
    r"(?:(?:please|sorry|um+|uh+|well|ok(?:ay)?|yes|can|could|would|may|i|you|we|let's|just)[ ]+)*"
)
_END = r"(?: (?:please|thanks|thank you|again|now|for me))*"
_PATTERNS = (
    (
        Intent.MOMENT,
        r"(?:(?:give|let) me (?:a|one|some|just a|another)? ?(?:moment|second|minute|time|sec)"
        r"(?: to think)?|let me think(?: about (?:it|that|this))?"
        r"(?: for a (?:moment|second|minute))?"
        r"|(?:have|take|need|just)? ?(?:a|one) (?:moment|second|minute|sec)(?: to think)?"
        r"|(?:hold on|wait)(?: a (?:moment|second|minute|sec))?|i need (?:a moment|time)"
        r"(?: to think)?)",
    ),
    (
        Intent.REPEAT,
        r"(?:(?:repeat|say|hear|read|ask)(?: me)?(?: the question| that| it| this| your question)?"
        r"(?: again| once more| one more time)|repeat(?: the question| that| it| please)?"
        r"|pardon(?: me)?|what was the question|what did you (?:ask|say))",
    ),
    (
        Intent.SKIP,
        r"(?:skip(?: (?:it|this|that|this question|the question|that question))?|pass"
        r"|(?:go to |move on to |have )?(?:the )?next(?: question| one)"
        r"|(?:move|go) on|i don't know(?: the answer)?|i (?:do not|can't|cannot) "
        r"(?:know|answer)(?: this| that| it)?)",
    ),
    (
        Intent.HINT,
        r"(?:(?:give me |get |have |need )?(?:a|one|another|some) hint|hint|help me"
        r"(?: out)?(?: a bit)?|give me (?:a )?hints?)",
    ),
)
_MAX_ACKNOWLEDGEMENT_WORDS = 5
_ACKNOWLEDGEMENT = re.compile(
    r"(?:(?:h+m+|m+|mhm+|mm+-?h+m+|uh-?huh|uh|huh|um+|aha|ah|oh|yes|yeah|yep|ok|okay|right|sure"
    r"|alright|all right|i see|got it|i understand|good|fine|thanks|thank you)(?: |$))+"
)
_REQUESTS = tuple(
    (intent, re.compile(f"{_POLITE}(?:{pattern}){_END}")) for intent, pattern in _PATTERNS
)


def find_intent(message: str) -> Intent:
    """Return what the candidate wants. A message of more than 12 words is always an answer."""
    words = tokenize(normalise(message))
    if not 0 < len(words) <= _MAX_REQUEST_WORDS:
        return Intent.ANSWER
    plain = " ".join(words)
    if len(words) <= _MAX_ACKNOWLEDGEMENT_WORDS and _ACKNOWLEDGEMENT.fullmatch(plain):
        return Intent.ACKNOWLEDGEMENT
    for intent, pattern in _REQUESTS:
        if pattern.fullmatch(plain):
            return intent
    return Intent.ANSWER
