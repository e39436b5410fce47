"""Texts that answer no interview question get no score. Relevant answers always get one."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from coach_ai.domain import Answer, QuestionType
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.scoring.local.english import load_english
from coach_ai.scoring.local.scorer import LocalScorer

GRADED = Path(__file__).parents[2] / "graded"


def _load(name: str) -> Any:
    return yaml.safe_load((GRADED / f"{name}.yaml").read_text("utf-8"))


QUESTIONS = [
    "Tell me about a time you solved a hard problem.",
    "Tell me about a conflict with a colleague.",
    "Describe a time you failed.",
    "Why do you want to work here?",
    "What is your greatest weakness?",
    "Tell me about yourself.",
    "Where do you see yourself in five years?",
    "How would you design a booking system for a small hotel?",
]
TEXTS = _load("off_topic")["texts"]
READING = (
    "and mister john dashwood had then leisure to consider how much there might be prudently in his"
    " power to do for them"
)
READINGS = [READING, READING.replace("and mister john", "And Mr. John") + "."]


@pytest.mark.parametrize("entry", TEXTS, ids=lambda one: one["kind"])
def test_text_without_an_answer_is_not_scored(
    local_scorer: LocalScorer, entry: dict[str, str]
) -> None:
    for question in QUESTIONS:
        feedback = local_scorer.score_answer(Answer("T", question, entry["text"], "en"))

        assert feedback.overall_score is None, question
        assert feedback.communication_score is None and feedback.clarity_score is None
        assert feedback.detailed_feedback == load_english().texts["off_topic"]
        assert not feedback.remarks


@pytest.mark.parametrize("text", READINGS, ids=["words", "recognised"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_short_reading_of_a_novel_is_not_scored(
    local_scorer: LocalScorer, question: str, text: str
) -> None:
    assert local_scorer.score_answer(Answer("T", question, text, "en")).overall_score is None


def _relevant_answers() -> list[tuple[str, str]]:
    graded = [
        one
        for name in ("answers", "blind", "second", "third")
        for one in _load(name)["answers"]
        if one.get("split") != "held_out"
    ]
    probes = _load("probes")
    answers = [(one["question"], one[level]) for one in graded for level in range(2, 6)]
    answers += [(one["question"], one["answer"]) for one in _load("unusual")]
    answers += [(one["question"], one["text"]) for one in _load("relevant")["answers"]]
    answers += [(one["question"], one["text"]) for one in probes["relevant"]]
    answers += [(one["question"], one["base"]) for one in probes["metamorphic"]]
    return list(dict.fromkeys(answers))


def test_no_relevant_answer_is_off_topic(local_scorer: LocalScorer) -> None:
    answers = _relevant_answers()

    rejected = [
        (question, text)
        for question, text in answers
        if (analysis := local_scorer.analyse(Answer("T", question, text, "en"), {})) is not None
        and analysis.is_off_topic
    ]

    assert len(answers) > 170
    assert not rejected


@pytest.mark.parametrize("name", ["technical_dev", "technical_tuning"])
def test_no_technical_answer_is_off_topic(local_scorer: LocalScorer, name: str) -> None:
    bank = load_question_bank()
    entries = [one for one in _load(name) if one["question"] in bank]
    rejected = []
    for entry in entries:
        question = bank[entry["question"]]
        for kind in ("right", "partly", "wrong"):
            answer = Answer("T", question.text, entry["answers"][kind]["text"], "en")
            analysis = local_scorer.analyse(answer, {})
            assert analysis is not None
            if analysis.is_off_topic:
                rejected.append((entry["question"], kind))

    assert entries
    assert not rejected


def test_answer_to_another_question_is_not_off_topic(local_scorer: LocalScorer) -> None:
    third = _load("third")["answers"]
    for one, other in zip(third, [*third[5:], *third[:5]], strict=True):
        analysis = local_scorer.analyse(Answer("T", one["question"], other[5], "en"), {})

        assert analysis is not None and not analysis.is_off_topic, other["question"]


def test_technical_question_without_points_stays_unscored_for_a_novel(
    local_scorer: LocalScorer,
) -> None:
    answer = Answer("T", "Explain how an index makes a query faster.", TEXTS[1]["text"], "en")

    feedback = local_scorer.score_answer(answer)

    assert feedback.question_type is QuestionType.KNOWLEDGE
    assert feedback.overall_score is None and feedback.technical_score is None
