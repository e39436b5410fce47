"""Quotes of an answer and their times."""

import pytest

from coach_ai.domain import Answer, Word
from coach_ai.scoring.quotes import find_quote, quote_times

TEXT = (
    "First we looked at every one of the seventeen old services in the house. "
    "Then I led the team of nine. After that I cut the costs by half."
)


def _answer(text: str, untimed: range) -> Answer:
    words = tuple(
        Word(word, float(second), second + 0.5)
        for second, word in enumerate(text.split())
        if second not in untimed
    )
    return Answer(title="T", question="Q?", text=text, duration_seconds=60, words=words)


@pytest.mark.parametrize(
    ("quote", "times"),
    [
        ("Then I led the team of nine.", (14.0, 20.5)),
        ("After that I cut the costs by half.", (21.0, 28.5)),
    ],
)
def test_quote_has_its_times_after_a_stretch_without_word_times(
    quote: str, times: tuple[float, float]
) -> None:
    assert quote_times(_answer(TEXT, range(1, 14)), quote) == times


def test_word_that_the_text_lacks_does_not_move_the_other_words() -> None:
    answer = _answer(TEXT, range(0))
    words = (*answer.words[:3], Word("half", 2.6, 2.9), *answer.words[3:])

    times = quote_times(
        Answer(title="T", question="Q?", text=TEXT, duration_seconds=60, words=words),
        "Then I led the team of nine.",
    )

    assert times == (14.0, 20.5)


def test_quote_is_whole_after_letters_whose_lower_case_is_longer() -> None:
    text = "I moved from İzmir to İstanbul, and İ stayed. I led the team of nine."

    assert find_quote(text, "i led the team of nine") == "I led the team of nine."
