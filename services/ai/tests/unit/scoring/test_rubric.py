"""The rubric data: structure, question types, and the formula of the scores."""

import pytest

from coach_ai.domain import QuestionType
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.scoring.rubric import load_rubric

RUBRIC = load_rubric()


def test_rubric_has_all_descriptions_examples_and_expectations() -> None:
    for dimension in RUBRIC.dimensions.values():
        assert set(dimension["levels"]) == {1, 2, 3, 4, 5}
        assert set(dimension["expectations"]) == {"junior", "mid", "senior"}
        for level in dimension["levels"].values():
            assert level["description"] and level["example"]


def test_delivery_weight_is_at_most_a_fifth() -> None:
    for weights in (*RUBRIC.overall.values(), *RUBRIC.weights.values()):
        assert sum(weights.values()) == pytest.approx(1.0)
        assert weights.get("delivery", 0.0) <= 0.2


@pytest.mark.parametrize(
    ("question", "question_type"),
    [
        ("Tell me about a time you solved a hard problem.", "story"),
        ("Have you ever missed a deadline?", "story"),
        ("What would you do if half of your team resigned?", "case"),
        ("How would you design a queue?", "case"),
        ("Explain how an index speeds up a query.", "knowledge"),
        ("Why does bread dough need to rest?", "knowledge"),
        ("Why do you want to work here?", "motive"),
        ("Where do you see yourself in five years?", "motive"),
        ("What are your strengths?", "about_you"),
        (None, "about_you"),
    ],
)
def test_classify_question_by_wording(question: str | None, question_type: str) -> None:
    assert RUBRIC.classify_question(question) == question_type


def test_bank_questions_are_mostly_classified_as_their_type() -> None:
    """The wording decides only for questions that are not from the bank."""
    bank = load_question_bank().values()
    right = [one for one in bank if RUBRIC.classify_question(one.text) is one.type]

    assert len(right) >= 0.7 * len(bank)


def test_technical_level_decides_only_where_something_is_right_or_wrong() -> None:
    levels = dict.fromkeys(RUBRIC.dimensions, 5) | {"technical": 1, "reasoning": 1}

    by_type = {one: RUBRIC.scores(levels, one).overall for one in QuestionType}

    assert by_type[QuestionType.STORY] == by_type[QuestionType.MOTIVE] == 95
    assert (by_type[QuestionType.KNOWLEDGE] or 0) < 30
    assert (by_type[QuestionType.CASE] or 0) < 70


def test_score_is_null_without_a_required_level() -> None:
    levels: dict[str, int | None] = dict.fromkeys(RUBRIC.dimensions, 4)
    levels["relevance"] = levels["technical"] = None

    scores = RUBRIC.scores(levels, QuestionType.STORY)

    assert (scores.overall, scores.technical) == (None, None)
    assert (scores.communication, scores.clarity) == (80, 80)


def test_overall_of_a_knowledge_question_requires_the_technical_level() -> None:
    levels: dict[str, int | None] = dict.fromkeys(RUBRIC.dimensions, 4) | {"technical": None}

    scores = RUBRIC.scores(levels, QuestionType.KNOWLEDGE)

    assert (scores.overall, scores.technical, scores.communication) == (None, None, 80)
