"""When an answer cannot be judged, and why."""

import re

from coach_ai.adapters.local_judge.reading import Reading
from coach_ai.adapters.local_judge.relevance import relevance
from coach_ai.adapters.local_judge.star import Story
from coach_ai.domain import Answer
from coach_ai.no_answer import why_none

_FIRST_PERSON = re.compile(r"\b(i|i'm|i'd|i've|my|me|we|we'd|we've|our|us)\b")


def why_not(
    answer: Answer, kind: str, reading: Reading, story: Story
) -> tuple[str | None, str | None]:
    """Return why the answer cannot be judged, with the words that show it."""
    if (reason := why_none(answer)) is not None:
        return (reason, None)
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
    return (None, None)
