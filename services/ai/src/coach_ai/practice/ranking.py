"""Orders questions by what helps most to practise next."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from statistics import fmean

from coach_ai.domain import Question
from coach_ai.practice.schedule import Card, Review, describe_gap, weak_below

COMPARED_ANSWERS = 3
"""A weak point is named if most of this many last answers to the question have it."""


class ReasonCode(StrEnum):
    """Why a question is suggested."""

    WEAK = "weak"
    """The last answer to it was weak, and it is due or was asked for."""
    DUE = "due"
    NEW = "new"
    LATER = "later"
    """It was answered, and is due later."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A question to practise, and why. `card` is None if it was never answered."""

    question: Question
    code: ReasonCode
    card: Card | None = None
    competence_mean: float | None = None
    """Mean of the last scores in the question's competence, if it is weak."""

    @property
    def due_at(self) -> datetime | None:
        """When it is due. None if it was never answered."""
        return None if self.card is None else self.card.due_at


def rank(
    candidates: Iterable[Question], cards: Mapping[str, Card], at: datetime
) -> list[Suggestion]:
    """Return the candidates in the order in which to practise them.

    1. Due questions: weak ones first, then those asked in a real interview, then the lowest
       retrievability.
    2. New ones: those asked in a real interview, then those of weak competences, weakest first,
       then own questions, then the competences with the fewest answered questions.
    3. The others in the order in which they get due.
    """
    suggestions = suggest(candidates, cards, at)
    due = [one for one in suggestions if one.due_at is not None and one.due_at <= at]
    later = [one for one in suggestions if one.due_at is not None and one.due_at > at]
    answered = Counter(card.competence for card in cards.values())
    # The sorts are stable: bank questions keep the order of the bank.
    new = sorted(
        (one for one in suggestions if one.card is None),
        key=lambda one: (
            -(one.question.asked_at or date.min).toordinal(),
            one.question.asked_by is None,
            101.0 if one.competence_mean is None else one.competence_mean,
            one.question.owner_id is None,
            answered[one.question.competence],
        ),
    )
    return [
        *sorted(due, key=lambda one: _due_key(one, at)),
        *new,
        *sorted(later, key=lambda one: (one.due_at or at, one.question.id)),
    ]


def rank_weak_points(
    candidates: Iterable[Question], cards: Mapping[str, Card], at: datetime
) -> list[Suggestion]:
    """Return the candidates with the weak ones first, lowest score first, due or not.

    New questions of weak competences follow, then the others as `rank` orders them.
    """
    ranked = [
        Suggestion(one.question, ReasonCode.WEAK, one.card)
        if one.card is not None and one.card.is_weak
        else one
        for one in rank(candidates, cards, at)
    ]
    return sorted(ranked, key=_weakness_key)


def suggest(
    candidates: Iterable[Question], cards: Mapping[str, Card], at: datetime
) -> list[Suggestion]:
    """Return the state of each candidate, in their order."""
    means = _mean_scores(cards.values())
    suggestions = []
    for question in candidates:
        card = cards.get(question.id)
        if card is None:
            mean = means.get(question.competence)
            is_weak = mean is not None and mean < weak_below()
            suggestions.append(
                Suggestion(question, ReasonCode.NEW, competence_mean=mean if is_weak else None)
            )
        elif not card.is_due(at):
            suggestions.append(Suggestion(question, ReasonCode.LATER, card))
        else:
            code = ReasonCode.WEAK if card.is_weak else ReasonCode.DUE
            suggestions.append(Suggestion(question, code, card))
    return suggestions


def describe_reason(suggestion: Suggestion, reviews: Sequence[Review], at: datetime) -> str:
    """Return in words why a question is suggested.

    `reviews` are its last `COMPARED_ANSWERS`, oldest first.
    """
    question, card = suggestion.question, suggestion.card
    if card is None:
        return _describe_new(question, suggestion.competence_mean)
    if suggestion.code is ReasonCode.WEAK:
        return _describe_weak(card, reviews)
    distance = _describe_duration(abs(at - card.due_at))
    if suggestion.code is ReasonCode.DUE:
        return f"Due again for {distance}."
    return f"Not due yet: due in {distance}."


def _due_key(suggestion: Suggestion, at: datetime) -> tuple[bool, bool, float, datetime, str]:
    card, question = suggestion.card, suggestion.question
    return (
        suggestion.code is not ReasonCode.WEAK,
        not question.was_asked_in_interview,
        1.0 if card is None else card.retrievability(at),
        suggestion.due_at or at,
        question.id,
    )


def _weakness_key(suggestion: Suggestion) -> tuple[int, float]:
    if suggestion.code is ReasonCode.WEAK and suggestion.card is not None:
        return (0, suggestion.card.last_score)
    if suggestion.competence_mean is not None:
        return (1, suggestion.competence_mean)
    return (2, 0.0)


def _mean_scores(cards: Iterable[Card]) -> dict[str, float]:
    scores: dict[str, list[int]] = {}
    for card in cards:
        scores.setdefault(card.competence, []).append(card.last_score)
    return {competence: fmean(values) for competence, values in scores.items()}


def _describe_new(question: Question, competence_mean: float | None) -> str:
    if question.was_asked_in_interview:
        by = f" by {question.asked_by}" if question.asked_by else ""
        on = f" on {question.asked_at.isoformat()}" if question.asked_at else ""
        return f"New: asked in a real interview{by}{on}."
    if competence_mean is not None:
        competence = question.competence.replace("-", " ")
        return f"New: your answers about {competence} average {competence_mean:.0f} points."
    return "New: you have not answered it yet."


def _describe_weak(card: Card, reviews: Sequence[Review]) -> str:
    counts = Counter(gap for review in reviews for gap in dict.fromkeys(review.gaps))
    # The first of the most frequent gaps: story parts come before points and levels.
    gap, count = max(counts.items(), key=lambda one: one[1], default=("", 0))
    if count > 1 and count * 2 > len(reviews):
        return f"Weak: {describe_gap(gap)} in {count} of the last {len(reviews)} answers."
    return f"Weak: your last answer has {card.last_score} points."


def _describe_duration(duration: timedelta) -> str:
    """Return a duration in its largest unit: "2 days", "1 hour"."""
    for unit, size in (("day", timedelta(days=1)), ("hour", timedelta(hours=1))):
        if duration >= size:
            count = duration // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    minutes = max(duration // timedelta(minutes=1), 1)
    return f"{minutes} minute{'s' if minutes > 1 else ''}"
