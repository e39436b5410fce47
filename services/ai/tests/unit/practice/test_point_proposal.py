"""Expected points that are proposed from a model answer."""

from coach_ai.domain import Importance
from coach_ai.practice.point_proposal import (
    MAX_POINT_CHARACTERS,
    MAX_PROPOSED_MUSTS,
    MAX_PROPOSED_POINTS,
    propose_points,
)


def test_sentences_of_the_model_answer_become_points_in_their_order() -> None:
    points = propose_points(
        "A load balancer distributes requests over several servers. And it stops sending requests"
        " to a server that fails its health check. For example, nginx and HAProxy do this."
    )

    assert [(one.id, one.text, one.importance) for one in points] == [
        ("p1", "A load balancer distributes requests over several servers.", Importance.MUST),
        (
            "p2",
            "It stops sending requests to a server that fails its health check.",
            Importance.MUST,
        ),
        ("p3", "For example, nginx and HAProxy do this.", Importance.BONUS),
    ]


def test_parts_without_content_or_new_words_are_left_out() -> None:
    points = propose_points(
        "Well, so. An index speeds up reads. That is it. Reads: an index speeds up reads."
    )

    assert [one.text for one in points] == ["An index speeds up reads."]


def test_long_sentence_is_split_into_its_clauses() -> None:
    points = propose_points(
        "An index makes reads of the table faster because the database does not scan every row of"
        " it, but each write takes longer because the database has to update all indexes as well"
    )

    assert len(points) > 1
    assert all(len(one.text.split()) <= 24 for one in points)


def test_number_of_points_and_of_required_ones_is_limited() -> None:
    words = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india",
             "juliett", "kilo", "lima", "mike", "november")  # fmt: skip
    points = propose_points(" ".join(f"Component{word} stores {word}data." for word in words))

    assert len(points) == MAX_PROPOSED_POINTS
    assert sum(one.importance is Importance.MUST for one in points) == MAX_PROPOSED_MUSTS


def test_any_text_gives_points_within_their_bounds() -> None:
    for text in ("", "...", "a" * 8000, "wordword " * 900, "x" * 400 + " " + "y" * 400):
        points = propose_points(text)
        assert all(0 < len(one.text) <= MAX_POINT_CHARACTERS for one in points)
