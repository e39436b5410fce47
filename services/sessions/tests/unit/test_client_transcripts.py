"""Texts of clients that are transcripts, and texts that are not."""

import pytest

from coach_common.testing.cost import assert_linear
from coach_sessions.client_transcripts import parse_client_transcript


@pytest.mark.parametrize(
    "text",
    [
        None, "", "  ", "...", "…", "-", "[BLANK_AUDIO]", "[BLANK_AUDIO] [BLANK_AUDIO]",
        "(silence)", "*music*", "<unk>", "null", "NULL", "undefined", "None",
        "NaN", "[object Object]", '""',
        "No speech detected.", "no-speech", "n/a", "[ Silence ]", "♪♪", "____",
        "[end of audio]", "(keyboard clicking)",
    ],
)  # fmt: skip
def test_placeholder_is_no_transcript(text: str | None) -> None:
    assert parse_client_transcript(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "I fixed it.",
        "Null pointers are bad.",
        "Ja",
        "我修好了",
        "[Music] I fixed it.",
        "42",
        "$(id)",
        "(I fixed it.)",
        "<b>I</b>",
    ],
)
def test_words_are_a_transcript(text: str) -> None:
    assert parse_client_transcript(text) == text


def test_placeholder_check_takes_linear_time() -> None:
    for text in ("(" * 100_000, "[" * 100_000, "*" * 99_999, "(a" * 50_000):
        assert_linear(parse_client_transcript, text)
