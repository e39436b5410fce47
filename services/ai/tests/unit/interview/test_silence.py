"""How long a silence may last, and after which turns the interviewer says a word."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from coach_ai.domain import Accommodation, Profile
from coach_ai.interview.model import (
    Intent,
    Interview,
    InterviewSetup,
    InterviewStatus,
    InterviewType,
    Manner,
    Persona,
    Position,
    Turn,
)
from coach_ai.interview.plan import choose_plan
from coach_ai.interview.silence import choose_silence_seconds, find_silence_prompt
from coach_ai.questions.question_bank import load_question_bank
from coach_common.ids import new_id

NOW = datetime(2026, 11, 27, tzinfo=UTC)
SETUP = InterviewSetup(
    "T", InterviewType.BEHAVIORAL, Persona(Manner.NEUTRAL, Position.RECRUITER), question_limit=1
)
TURN = Turn(1, 1, Intent.ANSWER, "m", "r", NOW)


@pytest.mark.parametrize(
    ("chosen", "profile", "expected"),
    [
        (None, None, 20),
        (None, Profile(), 20),
        (None, Profile(silence_seconds=45), 45),
        (None, Profile(silence_seconds=0), 0),
        (None, Profile(accommodations=(Accommodation.PAUSES,)), 0),
        (None, Profile(accommodations=(Accommodation.PAUSES,), silence_seconds=90), 90),
        (5, Profile(silence_seconds=45), 5),
        (0, Profile(silence_seconds=45), 0),
    ],
)
def test_own_choice_comes_before_the_setting(
    chosen: int | None, profile: Profile | None, expected: int
) -> None:
    setup = replace(SETUP, silence_seconds=chosen)

    assert choose_silence_seconds(setup, profile, default=20) == expected


def test_words_are_those_of_the_persona() -> None:
    for manner in Manner:
        prompt = find_silence_prompt(_start(manner, seconds=30), TURN)

        assert prompt is not None and prompt.after_seconds == 30
        assert len({find_silence_prompt(_start(one), TURN) for one in Manner}) == len(Manner)


def test_no_words_if_switched_off_asked_for_a_moment_or_over() -> None:
    over = replace(_start(), status=InterviewStatus.COMPLETED)

    assert find_silence_prompt(_start(seconds=0), TURN) is None
    assert find_silence_prompt(_start(seconds=None), TURN) is None
    assert find_silence_prompt(over, TURN) is None
    assert find_silence_prompt(_start(), replace(TURN, intent=Intent.MOMENT)) is None


def _start(manner: Manner = Manner.NEUTRAL, seconds: int | None = 20) -> Interview:
    setup = replace(SETUP, persona=Persona(manner, Position.RECRUITER), silence_seconds=seconds)
    plan = choose_plan(load_question_bank().values(), setup, seed="1")
    return Interview(new_id(), new_id(), setup, plan, NOW, NOW)
