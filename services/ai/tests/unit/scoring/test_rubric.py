"""The rubric data: structure, question types, and the formula of the scores."""

import pytest

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
    ("question", "kind"),
    [
        ("Tell me about a time you solved a hard problem.", "behavioural"),
        ("Have you ever missed a deadline?", "behavioural"),
        ("How would you design a queue?", "technical"),
        ("Explain how an index speeds up a query.", "technical"),
        ("Why do you want to work here?", "general"),
        (None, "general"),
    ],
)
def test_classify_question_by_wording(question: str | None, kind: str) -> None:
    assert RUBRIC.classify_question(question) == kind


def test_technical_level_weighs_most_for_technical_questions() -> None:
    levels = dict.fromkeys(RUBRIC.dimensions, 5) | {"technical": 1}

    by_kind = {kind: RUBRIC.scores(levels, kind).overall for kind in RUBRIC.overall}

    assert by_kind == {"behavioural": 95, "technical": 69, "general": 95}


def test_score_is_null_without_a_required_level() -> None:
    levels: dict[str, int | None] = dict.fromkeys(RUBRIC.dimensions, 4)
    levels["relevance"] = levels["technical"] = None

    scores = RUBRIC.scores(levels, "behavioural")

    assert (scores.overall, scores.technical) == (None, None)
    assert (scores.communication, scores.clarity) == (80, 80)
