"""Loading of the question bank."""

from collections import Counter
from typing import Any

import pytest

from coach_ai.domain import Importance, QuestionType, Seniority
from coach_ai.questions.question_bank import load_question_bank, parse_questions

POINT = {"id": "p", "text": "A sentence.", "importance": "must", "accepted": ["one wording of it"]}
WRONG = {"id": "m", "text": "A wrong sentence.", "wordings": ["one wording of it"]}
VALID: dict[str, Any] = {
    "id": "db-x",
    "text": "What is X?",
    "type": "technical",
    "field": "databases",
    "seniority": ["junior"],
    "tags": ["x"],
    "points": [POINT | {"id": f"p{number}"} for number in range(4)],
    "misconceptions": [WRONG | {"id": f"m{number}"} for number in range(2)],
}


def test_bank_has_enough_questions_of_each_type_and_field() -> None:
    questions = load_question_bank().values()

    assert len(questions) >= 120
    counts = Counter(question.type for question in questions)
    assert {kind for kind in QuestionType if counts[kind] >= 5} == set(QuestionType)
    fields = {one.field for one in questions if one.type is QuestionType.KNOWLEDGE}
    assert len(fields) >= 8


def test_knowledge_and_case_questions_have_points_and_misconceptions() -> None:
    for question in load_question_bank().values():
        is_checked = question.type in (QuestionType.KNOWLEDGE, QuestionType.CASE)
        assert (4 <= len(question.points) <= 8) == is_checked, question.id
        assert (len(question.misconceptions) >= 2) == is_checked, question.id


def test_question_has_all_its_parts() -> None:
    (question,) = parse_questions(
        [VALID | {"points": [POINT | {"id": f"p{n}", "not": ["the opposite"]} for n in range(4)]}]
    )

    assert (question.id, question.type, question.field) == (
        "db-x",
        QuestionType.KNOWLEDGE,
        "databases",
    )
    assert question.seniority == (Seniority.JUNIOR,)
    assert question.points[0].importance is Importance.MUST
    assert question.points[0].accepted == ("one wording of it",)
    assert question.points[0].not_ == ("the opposite",)
    assert question.misconceptions[1].wordings == ("one wording of it",)
    assert question.owner_id is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"field": None}, "have a field"),
        ({"points": VALID["points"][:3]}, "4 points"),
        ({"points": VALID["points"] * 2}, "repeat"),
        ({"points": VALID["points"] * 3}, "at most 8"),
        ({"misconceptions": VALID["misconceptions"][:1]}, "2 misconceptions"),
        ({"type": "behavioral"}, "only technical"),
        ({"type": "general"}, "subtype"),
        ({"type": "riddle"}, "type"),
        ({"id": "No Slug"}, "id"),
        ({"unknown": 1}, "unknown"),
        ({"seniority": []}, "seniority"),
    ],
)
def test_invalid_question_is_rejected_with_its_reason(
    change: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_questions([VALID | change])


def test_file_that_is_no_list_is_rejected() -> None:
    with pytest.raises(ValueError, match="list"):
        parse_questions({"id": "x"})
