"""Finds what an answer lacks, from what the scorer reports and by simple rules on the words."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from coach_ai.domain import Importance, PointCoverage, PointStatus, QuestionType
from coach_ai.interview.model import Gap, GapKind
from coach_ai.text import split_sentences

MAX_QUOTE_CHARACTERS = 160

_NUMBER_WORDS = (
    "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|hundred"
    "|thousand|million|half|halved|twice|double|doubled|tripled|percent"
)
_FIGURE = re.compile(rf"\d|\b(?:{_NUMBER_WORDS})\b", re.IGNORECASE)
_GROUP = re.compile(r"\b(?:we|our|us|the team)\b", re.IGNORECASE)
_SELF = re.compile(r"\b(?:I|I'm|I've|my|me|myself)\b")
_ENDING = re.compile(
    r"\b(?:in the end|as a result|eventually|finally|it turned out|so that)\b", re.IGNORECASE
)
"""A sentence that says how it ended. The scorer may not count it as a result."""
_MIN_GROUP_SENTENCES = 2
_PROBED_STATUSES = (PointStatus.MISSING, PointStatus.PARTLY, PointStatus.CONTRADICTED)


class ScoredAnswer(Protocol):
    """The part of a scorer's feedback that follow-ups are chosen from."""

    @property
    def overall_score(self) -> int | None:
        """None if the answer could not be scored."""

    @property
    def star(self) -> Mapping[str, str | None]:
        """Quotes of the story parts. Empty if the question asks for no story."""

    @property
    def points(self) -> Sequence[PointCoverage]:
        """Coverage of the expected points. Empty if they were not checked."""


def find_gap(
    answer: str, scored: ScoredAnswer, question_type: QuestionType, probed: Collection[Gap] = ()
) -> Gap | None:
    """Return the most important gap that no earlier follow-up probed, or None.

    Each kind is probed once per question. A different expected point counts as another gap. An
    answer that could not be scored has no gap, because there is nothing to refer to.
    """
    if scored.overall_score is None:
        return None
    known = {(gap.kind, gap.point_id) for gap in probed}
    for gap in _list_gaps(answer, scored, question_type):
        if (gap.kind, gap.point_id) not in known:
            return gap
    return None


def _list_gaps(answer: str, scored: ScoredAnswer, question_type: QuestionType) -> Iterator[Gap]:
    sentences = [one.text for one in split_sentences(answer)]
    if not sentences:
        return
    if question_type is QuestionType.STORY:
        result = scored.star.get("result")
        if scored.star and result is None and not any(map(_ENDING.search, sentences)):
            yield Gap(GapKind.RESULT_MISSING, _shorten(sentences[-1]))
        group = [one for one in sentences if _GROUP.search(one) and not _SELF.search(one)]
        own = [one for one in sentences if _SELF.search(one)]
        if len(group) >= _MIN_GROUP_SENTENCES and len(group) > len(own):
            yield Gap(GapKind.OWN_PART_UNCLEAR, _shorten(group[0]))
        if result and not _FIGURE.search(answer):
            yield Gap(GapKind.NO_FIGURE, _shorten(result))
    for point in scored.points:
        if point.importance is Importance.MUST and point.status in _PROBED_STATUSES:
            quote = point.quote or sentences[-1]
            yield Gap(GapKind.POINT_NOT_COVERED, _shorten(quote), point.id)


def _shorten(quote: str) -> str:
    """Return the beginning of a quote. It stays verbatim, so that it occurs in the answer."""
    quote = quote.strip()
    if len(quote) <= MAX_QUOTE_CHARACTERS:
        return quote
    return quote[:MAX_QUOTE_CHARACTERS].rpartition(" ")[0] or quote[:MAX_QUOTE_CHARACTERS]
