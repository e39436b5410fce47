"""The template: the user's own sentences in the order of a strong answer, with blanks for gaps.

Every word outside of blanks is a word of the answer. Plain Python.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from coach_ai.domain import Answer, Feedback, Importance, PointCoverage, PointStatus, QuestionType
from coach_ai.domain.rewrites import (
    MAX_REWRITE_CHARACTERS,
    Rewrite,
    RewrittenSentence,
    make_blank,
)
from coach_ai.rewriting.own_sentences import OwnSentence, list_own_sentences, read_answer

PROVIDER = "local"
MODEL = "template-1"

OTHER_LANGUAGE_NOTE = "Sentences in another language than English keep their place."
_SHORTENED_NOTE = "Sentences were left out because the answer is long."
_BLANKS_NOTE = "Fill in each blank in brackets with what really happened, or delete it."
_COMPLETE_NOTE = "Nothing that the template looks for is missing."
_STORY_NOTE = "Your own sentences in the order situation, task, action, result."
_POINTS_NOTE = "Your own sentences, those about the expected points first."
_PLAIN_NOTE = "Your own sentences in their order."


class Part(IntEnum):
    """A part of a story, in the order of a strong answer."""

    SITUATION = 0
    TASK = 1
    ACTION = 2
    RESULT = 3


BLANKS = {
    Part.SITUATION: "When and where was this, and what was at stake?",
    Part.TASK: "What were you asked to do?",
    Part.ACTION: "What did you do yourself? Name your steps.",
    Part.RESULT: "What was the result? Name a figure.",
}
FIGURE_BLANK = "By how much, or how many? Name a figure."
OWN_PART_BLANK = "Which of these steps were your own?"
REASON_BLANK = "Why is that so? Give the reason."
PROPOSAL_BLANK = "What would you do first?"
PROOF_BLANK = "Which example from your work shows this?"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where sentences go.

    Attributes:
        groups: The group of each sentence, in the order of the groups, or None.
        blanks: The blanks at the end of each group.
        is_following: Whether a sentence without a group stays behind the one before it. Otherwise
            it comes after all groups.
    """

    groups: Sequence[int | None]
    blanks: Mapping[int, Sequence[str]] = field(default_factory=dict)
    is_following: bool = True


def write_from_feedback(answer: Answer, feedback: Feedback) -> Rewrite:
    """Return the rewrite that the quotes of the feedback allow."""
    sentences = list_own_sentences(read_answer(answer), answer.question)
    if feedback.star and feedback.question_type in (None, QuestionType.STORY):
        return write(sentences, place_by_quotes(sentences, feedback.star), _STORY_NOTE)
    return write_without_story(sentences, feedback, Layout([None] * len(sentences)))


def write_story(sentences: Sequence[OwnSentence], layout: Layout, *notes: str) -> Rewrite:
    """Return the rewrite of a story, whose groups are the numbers of `Part`."""
    return write(sentences, layout, _STORY_NOTE, *notes)


def write_without_story(
    sentences: Sequence[OwnSentence], feedback: Feedback, layout: Layout, *notes: str
) -> Rewrite:
    """Return the rewrite by the expected points, or by `layout` if the question has none."""
    if feedback.points:
        return write(sentences, place_by_points(sentences, feedback.points), _POINTS_NOTE, *notes)
    return write(sentences, layout, _PLAIN_NOTE, *notes)


def place_by_quotes(sentences: Sequence[OwnSentence], star: Mapping[str, str | None]) -> Layout:
    """Return the places of sentences by the quotes of the story parts."""
    groups: list[int | None] = [None] * len(sentences)
    for part in Part:
        for row in _find_rows(sentences, star.get(part.name.lower())):
            groups[row] = part if groups[row] is None else groups[row]
    blanks: dict[int, list[str]] = {
        part: [BLANKS[part]] for part in Part if not star.get(part.name.lower())
    }
    return Layout(groups, blanks)


def place_by_points(sentences: Sequence[OwnSentence], points: Sequence[PointCoverage]) -> Layout:
    """Return the places of sentences by the points that they cover.

    A missing point is a blank if a good answer must contain it. The blank names the point, which
    the feedback shows as well.
    """
    groups: list[int | None] = [None] * len(sentences)
    blanks: dict[int, list[str]] = {}
    last = len(points)
    for number, point in enumerate(points):
        rows = _find_rows(sentences, point.quote)
        for row in rows:
            groups[row] = number if groups[row] is None else groups[row]
        match point.status:
            case PointStatus.CONTRADICTED:
                blanks[number] = [f"Correct this: {point.text}"]
            case PointStatus.PARTLY:
                blanks[number] = [f"Say more about this: {point.text}"]
            case PointStatus.MISSING if point.importance is Importance.MUST:
                blanks.setdefault(last + 1, []).append(f"Add: {point.text}")
    return Layout(groups, blanks, is_following=False)


def write(sentences: Sequence[OwnSentence], layout: Layout, *notes: str) -> Rewrite:
    """Return the sentences in their order, bounded in size, with the blanks of each group."""
    groups = _fill_groups(layout)
    kept = _bound(sentences, layout.groups)
    numbers = sorted({*(group for group in groups), *layout.blanks})
    written: list[RewrittenSentence] = []
    for number in numbers:
        written += [
            RewrittenSentence(one.text, one.quote)
            for row, one in enumerate(sentences)
            if groups[row] == number and row in kept
        ]
        written += [RewrittenSentence(make_blank(text)) for text in layout.blanks.get(number, ())]
    has_blank = any(layout.blanks.values())
    note = [*notes, _BLANKS_NOTE if has_blank else _COMPLETE_NOTE]
    if len(kept) < len(sentences):
        note.append(_SHORTENED_NOTE)
    return Rewrite(tuple(written), PROVIDER, MODEL, " ".join(note))


def _fill_groups(layout: Layout) -> list[int]:
    """Return a group for each sentence."""
    if not layout.is_following:
        last = max((one for one in layout.groups if one is not None), default=0)
        return [last + 1 if one is None else one for one in layout.groups]
    filled = []
    current = 0
    for group in layout.groups:
        current = current if group is None else group
        filled.append(current)
    return filled


def _bound(sentences: Sequence[OwnSentence], groups: Sequence[int | None]) -> set[int]:
    """Return the sentences that fit. Those with a group come first, then the earlier ones."""
    kept: set[int] = set()
    remaining = MAX_REWRITE_CHARACTERS
    for row in sorted(range(len(sentences)), key=lambda row: (groups[row] is None, row)):
        remaining -= len(sentences[row].text) + 1
        if remaining >= 0:
            kept.add(row)
    return kept


def _find_rows(sentences: Sequence[OwnSentence], quote: str | None) -> list[int]:
    """Return the sentences that share text with a quote."""
    if not quote:
        return []
    return [row for row, one in enumerate(sentences) if quote in one.quote or one.quote in quote]
