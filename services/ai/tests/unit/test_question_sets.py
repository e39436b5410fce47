"""The sets of questions that ship."""

from typing import Any

import pytest

from coach_ai.interview.plan import estimate_minutes
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.questions.question_sets import QuestionSet, load_question_sets, parse_sets

VALID = {"id": "one", "title": "One", "minutes": 5, "questions": ["db-index"]}


@pytest.mark.parametrize("question_set", load_question_sets().values(), ids=lambda one: one.id)
def test_set_has_known_questions_once_and_an_honest_time(question_set: QuestionSet) -> None:
    bank = load_question_bank()
    questions = [bank[question_id] for question_id in question_set.question_ids]
    minutes = sum(estimate_minutes(one) for one in questions)

    assert len(set(question_set.question_ids)) == len(questions) >= 3
    assert minutes <= question_set.minutes <= minutes + 10


def test_sets_have_the_documented_titles() -> None:
    titles = [one.title for one in load_question_sets().values()]

    assert len(set(titles)) == len(titles)
    assert {
        "First interview", "System design in an hour", "Behavioural basics",
        "Ten minutes before an interview",
    } <= {*titles}  # fmt: skip


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([VALID, VALID], "id of a set repeats"),
        ([VALID | {"questions": ["db-index", "db-index"]}], "a question repeats"),
        ([VALID | {"questions": ["no-such"]}], "not in the bank: no-such"),
    ],
)
def test_invalid_sets_are_rejected(entries: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_sets(entries)
