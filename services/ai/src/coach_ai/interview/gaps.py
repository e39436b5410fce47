"""Finds what a follow-up probes, from what the scorer reports and by simple rules on the words."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from coach_ai.domain import Importance, PointCoverage, PointStatus, QuestionType
from coach_ai.interview.model import DepthProbe, Gap, GapKind
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
GOOD_SCORE = 80
"""Lowest overall score of a good answer: the points of level 4 in the rubric."""
_DEPTH_PROBES: Mapping[QuestionType, tuple[DepthProbe, ...]] = {
    QuestionType.STORY: (DepthProbe.DIFFERENTLY, DepthProbe.ALTERNATIVE, DepthProbe.SCALE),
    QuestionType.KNOWLEDGE: (DepthProbe.TRADE_OFF, DepthProbe.ALTERNATIVE, DepthProbe.SCALE),
    QuestionType.CASE: (DepthProbe.SCALE, DepthProbe.TRADE_OFF, DepthProbe.ALTERNATIVE),
    QuestionType.MOTIVE: (DepthProbe.ALTERNATIVE,),
    QuestionType.ABOUT_YOU: (),
}
_DISCUSSED = {
    DepthProbe.TRADE_OFF: r"trade-?offs?|costs?|drawbacks?|downsides?|disadvantages?|price",
    DepthProbe.SCALE: r"scales?|scaled|scaling|tenfold|ten times|millions?|grows?|growth",
    DepthProbe.DIFFERENTLY: r"differently|next time|hindsight|looking back|in retrospect",
    DepthProbe.ALTERNATIVE: r"instead of|alternatives?|rather than|considered|other options?",
}
"""Words of an answer that treats the probe already."""
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
    answer: str,
    scored: ScoredAnswer,
    question_type: QuestionType,
    probed: Collection[Gap] = (),
    *,
    max_depth: int = 1,
) -> Gap | None:
    """Return the most important gap that no earlier follow-up probed, or None.

    Each kind is probed once per question. A different expected point counts as another gap. A good
    answer without any gap is probed for depth, `max_depth` times per question. An answer that could
    not be scored has no gap, because there is nothing to refer to.
    """
    if scored.overall_score is None:
        return None
    known = {(gap.kind, gap.point_id) for gap in probed}
    gaps = list(_list_gaps(answer, scored, question_type))
    for gap in gaps:
        if (gap.kind, gap.point_id) not in known:
            return gap
    used = [gap.probe for gap in probed if gap.probe is not None]
    if gaps or scored.overall_score < GOOD_SCORE or len(used) >= max_depth:
        return None
    return _find_depth(answer, scored, question_type, used)


def _find_depth(
    answer: str,
    scored: ScoredAnswer,
    question_type: QuestionType,
    used: Collection[DepthProbe],
) -> Gap | None:
    """Return the first probe for this type of question that the answer does not treat, or None."""
    quote = _find_subject(answer, scored)
    for probe in _DEPTH_PROBES[question_type]:
        is_discussed = re.search(rf"\b(?:{_DISCUSSED[probe]})\b", answer, re.IGNORECASE)
        if quote and probe not in used and not is_discussed:
            return Gap(GapKind.DEPTH, _shorten(quote), probe=probe)
    return None


def _find_subject(answer: str, scored: ScoredAnswer) -> str:
    """Return the passage to go deeper into: an action, a result, a point, the longest sentence."""
    quotes = (
        scored.star.get("action"),
        scored.star.get("result"),
        *(point.quote for point in scored.points),
    )
    sentences = (one.text for one in split_sentences(answer))
    stated = (one for one in quotes if one and one in answer)
    return next(stated, max(sentences, key=len, default=""))


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
