"""Live audio of an interview: what counts as a reply, and how long a silence is."""

import pytest

from coach_ai.domain import Word
from coach_ai.speech.live_dialogue import LiveDialogue
from coach_ai.speech.local_agreement import Hypothesis

TURN = "Thank you. The next question. Tell me about a time you solved a hard problem."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        (TURN, False),
        ("tell me about the time you solved a heart problem", False),
        (f"{TURN} Hm, okay.", False),
        (f"{TURN} Hard program.", False),
        ("Mhm. Yes.", False),
        (f"{TURN} Last year our checkout failed.", True),
        ("Can you repeat the question?", True),
        ("Skip.", True),
    ],
)
def test_reply_is_more_than_an_echo_or_a_sound(text: str, expected: bool) -> None:
    assert LiveDialogue([TURN]).is_reply(text) is expected


def test_silence_grows_with_the_audio_and_ends_with_speech() -> None:
    dialogue = LiveDialogue([])
    words = (Word("Last", 5.0, 5.4), Word("year", 5.5, 6.0))

    found = [
        dialogue.find_silence(Hypothesis((), 0.5)),
        dialogue.find_silence(Hypothesis((), 3.0, 2.5)),
        dialogue.find_silence(Hypothesis((), 3.4, 2.9)),
        dialogue.find_silence(Hypothesis(words, 6.2)),
        dialogue.find_silence(Hypothesis(words, 8.5, 6.0)),
    ]

    assert found == [None, 3.0, None, None, 2.5]
