"""The rubric is data: its shape, its kinds of question, and the formula of the scores."""

import pytest

from coach_ai.scoring.rubric import load_rubric

RUBRIC = load_rubric()


def test_every_level_has_a_description_and_an_example_and_every_seniority_its_expectation() -> None:
    for dimension in RUBRIC.dimensions.values():
        assert set(dimension["levels"]) == {1, 2, 3, 4, 5}
        assert set(dimension["expectations"]) == {"junior", "mid", "senior"}
        for level in dimension["levels"].values():
            assert level["description"] and level["example"]


def test_delivery_is_at_most_a_fifth_of_any_score() -> None:
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
def test_a_question_has_a_kind_by_its_words(question: str | None, kind: str) -> None:
    assert RUBRIC.classify_question(question) == kind


def test_what_is_wrong_costs_most_where_the_question_asks_for_knowledge() -> None:
    levels = dict.fromkeys(RUBRIC.dimensions, 5) | {"technical": 1}

    by_kind = {kind: RUBRIC.scores(levels, kind).overall for kind in RUBRIC.overall}

    assert by_kind == {"behavioural": 95, "technical": 69, "general": 95}


def test_what_a_score_needs_and_nobody_judged_leaves_it_without_a_number() -> None:
    levels: dict[str, int | None] = dict.fromkeys(RUBRIC.dimensions, 4)
    levels["relevance"] = levels["technical"] = None

    scores = RUBRIC.scores(levels, "behavioural")

    assert (scores.overall, scores.technical) == (None, None)
    assert (scores.communication, scores.clarity) == (80, 80)
