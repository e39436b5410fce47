"""The demo's recordings answer the questions that its interview asks."""

from importlib.resources import files

import pytest

from coach_ai.interview.model import GapKind
from coach_ai.interview.plan import choose_plan
from coach_ai.interview_schemas import StartInterviewRequest
from coach_ai.questions.question_bank import load_question_bank
from coach_embedded.demo_interview import ANSWERS, SETUP, find_recordings
from coach_embedded.demo_steps import DemoFailed


def test_every_question_that_may_be_asked_has_its_recording() -> None:
    setup = StartInterviewRequest.model_validate(SETUP).to_domain()
    bank = load_question_bank().values()
    asked = {
        planned.question.text
        for seed in range(50)
        for planned in choose_plan(bank, setup, seed=str(seed)).questions
    }

    assert len({find_recordings(text)[None] for text in asked}) == len(ANSWERS) == len(asked)


def test_every_recording_exists_with_its_text() -> None:
    directory = files("coach_embedded") / "recordings"
    for recordings in ANSWERS.values():
        for gap, name in recordings.items():
            assert gap is None or gap in set(GapKind)
            assert (directory / name).is_file()
            assert (directory / name.replace(".m4a", ".txt")).read_text().strip()


def test_other_question_fails_the_demo() -> None:
    with pytest.raises(DemoFailed, match="no recording"):
        find_recordings("Why do you want to work here?")
