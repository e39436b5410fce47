"""When an answer cannot be judged, and why."""

import re

from coach_ai.adapters.local_judge.reading import Reading
from coach_ai.adapters.local_judge.relevance import relevance
from coach_ai.adapters.local_judge.star import Story
from coach_ai.adapters.local_judge.words import STOP
from coach_ai.domain import UNCLEAR, Answer
from coach_ai.evidence import tokens_of

_MIN_WORDS = 15
_MIN_CONTENT = 5
_NO_ANSWER = re.compile(
    r"^\W*(i (really )?(do not|don't) know|no idea|i have no idea|pass|fine|nothing|"
    r"i can'?t (think|remember)[^.]*|n/?a)\W*$"
)
_FIRST_PERSON = re.compile(r"\b(i|i'm|i'd|i've|my|me|we|we'd|we've|our|us)\b")


def why_not(
    answer: Answer, kind: str, reading: Reading, story: Story, near: float | None = None
) -> tuple[str | None, str | None]:
    """Return why the answer cannot be judged, with the words that show it."""
    words = tokens_of(answer.text)
    if answer.language not in (None, "en"):
        return ("The answer is not in English, the only language this coach can judge.", None)
    if answer.is_unclear:
        return (UNCLEAR, None)
    if _NO_ANSWER.match(" ".join(words)) or not words:
        return ("There is no answer to judge here. Try again with a story of your own.", None)
    if len(words) < _MIN_WORDS:
        return (
            f"{len(words)} words are too few to judge. Take a minute or two for an answer.",
            None,
        )
    question = set(tokens_of(answer.question or ""))
    content = set(words) - STOP
    if question and len(content - question) < _MIN_CONTENT:
        return ("This is the question read back, not an answer to it.", None)
    if not reading.said:
        return ("There is no answer to judge here. Try again with a story of your own.", None)
    if answer.question and kind == "behavioural":
        is_mine = [one for one in reading.said if _FIRST_PERSON.search(" ".join(one.tokens))]
        is_told = any(story.parts[part] for part in ("situation", "task", "action"))
        if not is_mine or (len(is_mine) * 4 < len(reading.said) and not is_told):
            return (
                "This does not answer the question: it asks for something you yourself lived"
                " through, and nothing here is told as your own experience.",
                reading.said[0].sentence.text,
            )
        if not story.steps and relevance(answer.question, reading.telling) == 0:
            return (
                "This speaks of something else: nothing in it has to do with the question, and it"
                " tells nothing that you did.",
                reading.said[0].sentence.text,
            )
    if near == 0 and relevance(answer.question, reading.telling) == 0:
        return (
            "This speaks of something else: nothing in it has to do with the question, and most"
            " other questions are nearer to it.",
            reading.said[0].sentence.text,
        )
    return (None, None)
