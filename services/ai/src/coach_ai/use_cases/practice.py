"""What to practise next: one question, a set, or a set from the user's weak points."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from prometheus_client import Counter

from coach_ai.deps import Deps
from coach_ai.domain import Question, QuestionQuery, QuestionType
from coach_ai.domain.bookmarks import Bookmark
from coach_ai.interview.plan import estimate_minutes
from coach_ai.practice.ranking import (
    COMPARED_ANSWERS,
    Suggestion,
    describe_reason,
    rank,
    rank_weak_points,
    suggest,
)
from coach_ai.practice.schedule import Card
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.questions.question_sets import QuestionSet, load_question_sets
from coach_ai.store import bookmarks, practice, questions
from coach_ai.use_cases.questions import annotate, normalize_question_id
from coach_common.errors import NotFound
from coach_common.identity import Identity

NEXT_QUESTIONS = Counter("coach_ai_next_questions", "Suggested questions by reason.", ["reason"])

WEAK_POINTS_SET_ID = "weak-points"
_WEAK_POINTS_TITLE = "Your weak points"


class NoMatchingQuestion(NotFound):
    """No question meets the conditions."""

    code = "no_matching_question"

    def __init__(self) -> None:
        super().__init__("No other question matches. Remove a condition, or set repeat=true.")


class QuestionSetNotFound(NotFound):
    """There is no set with this id."""

    code = "question_set_not_found"

    def __init__(self) -> None:
        super().__init__("Question set not found")


@dataclass(frozen=True, slots=True)
class NextQuestionQuery:
    """Conditions on the next question. None, or an empty collection, is no condition.

    `after` is not suggested, nor is the question that was asked or answered last, unless
    `can_repeat` is set.
    """

    conditions: QuestionQuery = field(default_factory=QuestionQuery)
    types: Sequence[QuestionType] = ()
    set_id: str | None = None
    after: str | None = None
    can_repeat: bool = False


@dataclass(frozen=True, slots=True)
class ExplainedSuggestion:
    """A suggestion with its reason in words, and the user's bookmark of the question."""

    suggestion: Suggestion
    reason: str
    bookmark: Bookmark | None


@dataclass(frozen=True, slots=True)
class SetProgress:
    """A set, and how many of its questions the user has answered."""

    set: QuestionSet
    answered: int


@dataclass(frozen=True, slots=True)
class SetDetails:
    """A set with the user's state of each question."""

    set: QuestionSet
    suggestions: list[ExplainedSuggestion]


@dataclass(frozen=True, slots=True)
class _State:
    """What is known of a user: own questions, the annotated bank, cards, what was asked last."""

    own: list[Question]
    bank: Mapping[str, Question]
    cards: Mapping[str, Card]
    last_asked: str | None

    def list_set(self, question_set: QuestionSet) -> list[Question]:
        """Return the questions of a set."""
        return [self.bank[question_id] for question_id in question_set.question_ids]

    def list_last(self) -> set[str]:
        """Return the questions that were asked and answered last."""
        last = {self.last_asked} if self.last_asked is not None else set()
        if self.cards:
            newest = max(self.cards.values(), key=lambda one: one.reviewed_at)
            last.add(newest.question_id)
        return last


async def choose_next_question(
    deps: Deps, caller: Identity, query: NextQuestionQuery
) -> ExplainedSuggestion:
    """Return the question to practise next. Changes nothing, so it may be called at any time.

    The same answers, time and query give the same question.

    Raises:
        NoMatchingQuestion: If no question meets the conditions.
        QuestionSetNotFound: If there is no set `set_id`.
    """
    state = await _load_state(deps, caller.user_id)
    candidates = [*state.own, *state.bank.values()]
    if query.set_id is not None:
        candidates = state.list_set(await _get_set(query.set_id))
    excluded = set() if query.can_repeat else state.list_last()
    if query.after is not None and not query.can_repeat:
        excluded.add(normalize_question_id(query.after))
    now = deps.clock()
    ranked = rank(
        (
            one
            for one in candidates
            if one.id not in excluded
            and one.matches(query.conditions)
            and (not query.types or one.type in query.types)
        ),
        state.cards,
        now,
    )
    if not ranked:
        raise NoMatchingQuestion
    (chosen,) = await _explain(deps, caller.user_id, ranked[:1], now)
    NEXT_QUESTIONS.labels(chosen.suggestion.code).inc()
    return chosen


async def list_sets(deps: Deps, caller: Identity) -> list[SetProgress]:
    """Return the sets that ship, with the caller's progress."""
    sets = await asyncio.to_thread(load_question_sets)
    async with deps.db.read_only() as tx:
        cards = await practice.list_cards(tx, caller.user_id)
    return [
        SetProgress(one, sum(question_id in cards for question_id in one.question_ids))
        for one in sets.values()
    ]


async def get_set(deps: Deps, caller: Identity, set_id: str) -> SetDetails:
    """Return a set with the caller's state of each question.

    Raises:
        QuestionSetNotFound: If there is no set with this id.
    """
    found = await _get_set(set_id)
    state = await _load_state(deps, caller.user_id)
    now = deps.clock()
    suggestions = suggest(state.list_set(found), state.cards, now)
    return SetDetails(found, await _explain(deps, caller.user_id, suggestions, now))


async def choose_weak_points_set(
    deps: Deps, caller: Identity, conditions: QuestionQuery, *, count: int
) -> SetDetails:
    """Return a set of at most `count` questions aimed at the caller's weak points."""
    state = await _load_state(deps, caller.user_id)
    now = deps.clock()
    candidates = [one for one in (*state.own, *state.bank.values()) if one.matches(conditions)]
    chosen = rank_weak_points(candidates, state.cards, now)[:count]
    made = QuestionSet(
        WEAK_POINTS_SET_ID,
        _WEAK_POINTS_TITLE,
        sum(estimate_minutes(one.question) for one in chosen),
        tuple(one.question.id for one in chosen),
    )
    return SetDetails(made, await _explain(deps, caller.user_id, chosen, now))


async def _get_set(set_id: str) -> QuestionSet:
    found = (await asyncio.to_thread(load_question_sets)).get(set_id)
    if found is None:
        raise QuestionSetNotFound
    return found


async def _load_state(deps: Deps, user_id: UUID) -> _State:
    # The first call reads the files of the bank.
    bank = await asyncio.to_thread(load_question_bank)
    async with deps.db.read_only() as tx:
        return _State(
            await questions.list_own_questions(tx, user_id),
            await annotate(tx, user_id, bank),
            await practice.list_cards(tx, user_id),
            await practice.find_last_asked(tx, user_id),
        )


async def _explain(
    deps: Deps, user_id: UUID, suggestions: Sequence[Suggestion], at: datetime
) -> list[ExplainedSuggestion]:
    answered = [one.question.id for one in suggestions if one.card is not None]
    async with deps.db.read_only() as tx:
        reviews = await practice.list_last_reviews(tx, user_id, answered, limit=COMPARED_ANSWERS)
        marked = await bookmarks.list_bookmarks(
            tx, user_id, [one.question.id for one in suggestions]
        )
    return [
        ExplainedSuggestion(
            one,
            describe_reason(one, reviews.get(one.question.id, ()), at),
            marked.get(one.question.id),
        )
        for one in suggestions
    ]
