"""When an answer cannot be judged, and why."""

import re

from coach_ai.adapters.local_judge.reading import Reading
from coach_ai.adapters.local_judge.relevance import STOP, relevance
from coach_ai.domain import Answer
from coach_ai.evidence import tokens_of

_MIN_WORDS = 15
_BEHAVIOURAL = re.compile(
    r"\b(tell (me|us) about (a|an|the|your last|one) (time|situation|project|example|moment)|"
    r"describe (a|an|the) (time|situation)|give (me|us) an example|have you ever|"
    r"walk (me|us) through (a|an) (time|situation)|when (did|have) you)\b"
)
_NO_ANSWER = re.compile(
    r"^\W*(i (really )?(do not|don't) know|no idea|i have no idea|pass|fine|nothing|"
    r"i can'?t (think|remember)[^.]*|n/?a)\W*$"
)
_FIRST_PERSON = re.compile(r"\b(i|i'm|i'd|i've|my|me|we|we'd|our|us)\b")


def why_not(answer: Answer, reading: Reading) -> tuple[str | None, str | None]:
    """Return why the answer cannot be judged, with the words that show it."""
    words = tokens_of(answer.text)
    if answer.language not in (None, "en"):
        return ("The answer is not in English, the only language this coach can judge.", None)
    if _NO_ANSWER.match(" ".join(words)) or not words:
        return ("There is no answer to judge here. Try again with a story of your own.", None)
    if len(words) < _MIN_WORDS:
        return (
            f"{len(words)} words are too few to judge. Take a minute or two for an answer.",
            None,
        )
    question = set(tokens_of(answer.question or ""))
    content = {token for token in words if token not in STOP}
    if question and len(content - question) < 5:
        return ("This is the question read back, not an answer to it.", None)
    if not reading.sentences:
        return ("There is no answer to judge here. Try again with a story of your own.", None)
    is_mine = [s for s in reading.sentences if _FIRST_PERSON.search(" ".join(s.tokens))]
    if answer.question and _BEHAVIOURAL.search(answer.question.lower()):
        has_story = any(reading.parts[part] for part in ("situation", "task", "action"))
        if not is_mine or (len(is_mine) * 4 < len(reading.sentences) and not has_story):
            return (
                "This does not answer the question: it asks for something you yourself lived"
                " through, and nothing here is told as your own experience.",
                reading.sentences[0].text,
            )
        is_told = reading.parts["situation"] or reading.parts["action"]
        if not is_told and relevance(answer.question, reading.text) == 0:
            return (
                "This speaks of something else: nothing in it has to do with the question, and no"
                " story of your own is told.",
                reading.sentences[0].text,
            )
    return (None, None)
