"""Chooses the questions of an interview from the bank."""

import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import zip_longest

from coach_ai.domain import Question, QuestionType, Seniority
from coach_ai.domain.questions import Topic
from coach_ai.interview.company_style import Round, load_company_styles
from coach_ai.interview.model import (
    CompanyStyle,
    InterviewPlan,
    InterviewSetup,
    InterviewType,
    PlannedQuestion,
)
from coach_ai.text import tokenize

QUESTION_TYPES = {
    InterviewType.BEHAVIORAL: (QuestionType.STORY,),
    InterviewType.TECHNICAL: (QuestionType.KNOWLEDGE,),
    InterviewType.CASE: (QuestionType.CASE,),
    InterviewType.SYSTEM_DESIGN: (QuestionType.CASE,),
    InterviewType.GENERAL: (QuestionType.ABOUT_YOU, QuestionType.MOTIVE, QuestionType.STORY),
}
_DEFAULT_QUESTIONS = {
    InterviewType.BEHAVIORAL: 5,
    InterviewType.TECHNICAL: 5,
    InterviewType.CASE: 2,
    InterviewType.SYSTEM_DESIGN: 2,
    InterviewType.GENERAL: 5,
}
_MINUTES = {
    QuestionType.STORY: 5,
    QuestionType.KNOWLEDGE: 4,
    QuestionType.CASE: 15,
    QuestionType.MOTIVE: 3,
    QuestionType.ABOUT_YOU: 3,
}


def choose_plan(
    bank: Iterable[Question],
    setup: InterviewSetup,
    *,
    seed: str,
    avoid: Collection[str] = (),
    context: str = "",
) -> InterviewPlan:
    """Return a plan of different questions that suit the setup.

    Questions whose field or tags occur in the setup's texts come first, then those not in `avoid`.
    Of equal questions, those whose field or tags occur in `context` come first. It is the text of
    the user's profile.
    A competence is covered once before another question covers it again. A company style gives the
    rounds and their competences. The same seed and bank give the same plan.

    Raises:
        ValueError: If the bank has no question of the type.
    """
    types = QUESTION_TYPES[setup.type]
    candidates = [one for one in bank if one.type in types]
    if not candidates:
        raise ValueError(f"the bank has no question for {setup.type}")
    # Not a secret: it only varies the questions.
    random.Random(seed).shuffle(candidates)  # noqa: S311 # nosec B311
    words = frozenset(tokenize(f"{setup.role} {setup.company} {setup.instructions}"))
    context_words = frozenset(tokenize(context))
    candidates.sort(
        key=lambda one: (
            not _suits(one, setup.seniority),
            one.id in avoid,
            -_count_matches(one, words),
            -_count_matches(one, context_words),
        )
    )
    if setup.style is None:
        limit = setup.question_limit or _DEFAULT_QUESTIONS[setup.type]
        return InterviewPlan(tuple(_choose_questions(candidates, limit)))
    rounds = load_company_styles()[setup.style].rounds[setup.type]
    return InterviewPlan(tuple(_choose_rounds(candidates, rounds, setup.question_limit)))


def _choose_questions(candidates: Sequence[Question], limit: int) -> list[PlannedQuestion]:
    """Return the first candidates, each competence once before one is covered again."""
    chosen: list[PlannedQuestion] = []
    remaining = candidates
    while remaining and len(chosen) < limit:
        covered: set[str] = set()
        later: list[Question] = []
        for question in remaining:
            competence = name_competence(question)
            if competence in covered or len(chosen) == limit:
                later.append(question)
            else:
                covered.add(competence)
                chosen.append(PlannedQuestion(question, competence, estimate_minutes(question)))
        remaining = later
    return chosen


def _choose_rounds(
    candidates: Sequence[Question], rounds: Sequence[Round], limit: int | None
) -> Iterator[PlannedQuestion]:
    """Yield the questions of each round. What a round's competences do not fill, others fill."""
    used: set[str] = set()
    for round_, count in zip(rounds, _share_questions(rounds, limit), strict=True):
        found = _rank_by_competence(candidates, round_.competences)
        found += [(one, name_competence(one)) for one in candidates]
        for question, competence in found:
            if count and question.id not in used:
                used.add(question.id)
                count -= 1
                yield PlannedQuestion(question, competence, estimate_minutes(question), round_.name)


def _rank_by_competence(
    candidates: Sequence[Question], competences: Sequence[str]
) -> list[tuple[Question, str]]:
    """Return the first question of each competence, then the second of each, and so on."""
    columns = [
        [(one, competence) for one in candidates if competence in (one.field, *one.tags)]
        for competence in competences
    ]
    return [found for row in zip_longest(*columns) for found in row if found is not None]


def _share_questions(rounds: Sequence[Round], limit: int | None) -> list[int]:
    """Return the number of questions of each round. A limit is shared in turn."""
    wanted = [one.questions for one in rounds]
    if limit is None:
        return wanted
    order = [at for turn in range(max(wanted)) for at, count in enumerate(wanted) if count > turn]
    counts = [0] * len(rounds)
    for number in range(limit):
        counts[order[number % len(order)]] += 1
    return counts


def list_style_topics(style: CompanyStyle) -> frozenset[Topic]:
    """Return what the rounds of a company style ask, in all types of interviews."""
    rounds = load_company_styles()[style].rounds
    return frozenset(
        (question_type, competence)
        for interview_type, question_types in QUESTION_TYPES.items()
        for round_ in rounds[interview_type]
        for competence in round_.competences
        for question_type in question_types
    )


def estimate_minutes(question: Question) -> int:
    """Return how long an answer to the question takes, with its follow-ups."""
    return _MINUTES[question.type]


def name_competence(question: Question) -> str:
    """Return the competence of a question: its field, else its first tag, else its type."""
    return question.competence


def _suits(question: Question, seniority: Seniority | None) -> bool:
    return seniority is None or not question.seniority or seniority in question.seniority


def _count_matches(question: Question, words: frozenset[str]) -> int:
    names = " ".join((question.field or "", *question.tags)).replace("-", " ")
    return len(words.intersection(tokenize(names)))
