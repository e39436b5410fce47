"""The language of a text, phrase by phrase."""

from pathlib import Path

import pytest
import yaml

from coach_ai.domain import Answer
from coach_ai.embeddings import Embeddings
from coach_ai.scoring.answer_validation import NOT_ENGLISH, rejection_reason
from coach_ai.scoring.language import is_english, keep_english
from coach_ai.scoring.local.english import load_english
from coach_ai.scoring.local.scorer import LocalScorer
from coach_ai.scoring.units import split_units

GRADED = Path(__file__).parents[2] / "graded"
ENGLISH = (
    "Last year our delivery van broke down on the way to a wedding. I called a rental firm and"
    " moved the flowers myself. We arrived ten minutes before the guests."
)
GERMAN = (
    "Letztes Jahr ist unser Lieferwagen auf dem Weg zu einer Hochzeit liegen geblieben. Ich habe"
    " bei einer Vermietung angerufen und die Blumen selbst umgeladen."
)
SHORT_GERMAN = "Also, ich fange jetzt einfach mal mit der Antwort an."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ENGLISH, True),
        (ENGLISH.lower().replace(".", "").replace(",", ""), True),
        (f"{SHORT_GERMAN} {ENGLISH}", True),
        (GERMAN, False),
        (f"{GERMAN} I called them.", False),
        ("", True),
        ("...", True),
        ("Okay.", True),
    ],
)
def test_text_is_english_if_at_least_half_of_it_is(text: str, expected: bool) -> None:
    assert is_english(text) is expected


@pytest.mark.parametrize("is_first", [True, False])
def test_units_in_another_language_are_left_out(is_first: bool) -> None:
    text = f"{SHORT_GERMAN} {ENGLISH}" if is_first else f"{ENGLISH} {SHORT_GERMAN}"

    kept = keep_english(text, split_units(text))

    assert [unit.plain for unit in kept] == [unit.plain for unit in split_units(ENGLISH)]


def test_no_graded_english_answer_is_refused_for_its_language() -> None:
    graded = yaml.safe_load((GRADED / "third.yaml").read_text("utf-8"))["answers"]

    refused = [
        one["question"] for one in graded for level in range(2, 6) if not is_english(one[level])
    ]
    assert not refused


def test_text_in_another_language_is_rejected_with_the_reason() -> None:
    assert rejection_reason(Answer("T", None, GERMAN)) == NOT_ENGLISH
    assert rejection_reason(Answer("T", None, ENGLISH, "de")) == NOT_ENGLISH
    assert rejection_reason(Answer("T", None, ENGLISH)) is None


@pytest.mark.parametrize(
    ("text", "is_named"), [(f"{SHORT_GERMAN} {ENGLISH}", True), (ENGLISH, False)]
)
def test_feedback_names_the_part_in_another_language_as_not_scored(
    embeddings: Embeddings, text: str, is_named: bool
) -> None:
    question = "Tell me about a time you solved a problem."

    feedback = LocalScorer(embeddings).score_answer(Answer("T", question, text, "en"))

    assert feedback.overall_score is not None
    assert (load_english().texts["other_language"] in feedback.detailed_feedback) is is_named
    assert not any("Antwort" in remark.quote for remark in feedback.remarks)
