"""Words get the times of another transcript, at a cost that grows linearly."""

import random

import pytest

from coach_ai.domain import Word
from coach_ai.speech.alignment import align
from coach_common.testing.cost import assert_linear


def _timed(words: list[str]) -> tuple[Word, ...]:
    return tuple(Word(word, index * 0.5, index * 0.5 + 0.4) for index, word in enumerate(words))


def _spoken(count: int) -> list[str]:
    chance = random.Random(4)
    vocabulary = ["the", "team", "we", "a", "shipped", "it", "and", "query", "cache", "load", "to"]
    return [chance.choice(vocabulary) for _ in range(count)]


def test_equal_words_get_their_times_despite_case_and_punctuation() -> None:
    aligned = align("We shipped it, twice.", _timed(["we", "shipped", "It", "twice"]))

    assert [(word.text, word.start) for word in aligned] == [
        ("We", 0.0), ("shipped", 0.5), ("it,", 1.0), ("twice.", 1.5),
    ]  # fmt: skip


def test_word_without_a_counterpart_has_no_time() -> None:
    aligned = align("We really shipped it", _timed(["we", "shipped", "eat", "it"]))

    assert [(word.text, word.start) for word in aligned] == [
        ("We", 0.0), ("shipped", 0.5), ("it", 1.5),
    ]  # fmt: skip


@pytest.mark.parametrize("lost", [0, 10, 40])
def test_alignment_continues_after_words_that_one_side_lacks(lost: int) -> None:
    words = _spoken(600)
    timed = _timed(words)
    recognised = timed[:200] + timed[200 + lost :]

    aligned = align(" ".join(words), recognised)

    times = {round(word.start * 2): word.text for word in aligned}
    right = sum(times.get(index) == word for index, word in enumerate(words))
    assert right >= 600 - lost - 40
    assert [word.start for word in aligned] == sorted(word.start for word in aligned)


def test_wrong_words_do_not_stop_the_alignment() -> None:
    words = _spoken(500)
    recognised = [f"x{index}" if 100 <= index < 260 else word for index, word in enumerate(words)]

    aligned = align(" ".join(words), _timed(recognised))

    last = [word for word in aligned if word.start > 150]
    assert len(last) >= 180


def test_cost_of_a_repetitive_text_is_linear() -> None:
    def align_with_itself(text: str) -> None:
        words = text.split()
        assert len(align(text, _timed(words))) >= 0.9 * len(words)

    words = ["tick", "tock"] * 2_000
    words[::97] = ["hm"] * len(words[::97])

    assert_linear(align_with_itself, " ".join(words))
