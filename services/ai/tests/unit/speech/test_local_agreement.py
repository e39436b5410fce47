"""Live words are said once, never taken back, and lose or double nothing."""

import itertools
import random

import pytest

from coach_ai.domain import Word
from coach_ai.speech.local_agreement import MAX_WINDOW_SECONDS, Hypothesis, LocalAgreement

SAID = [Word(f"w{number}", number * 0.5, number * 0.5 + 0.4) for number in range(200)]


def _heard(words: list[Word], *, end: float | None = None, pause: bool = False) -> Hypothesis:
    last = words[-1].end if words else 0.0
    return Hypothesis(tuple(words), last if end is None else end, last if pause else None)


def test_one_hypothesis_alone_says_nothing() -> None:
    agreement = LocalAgreement()

    assert not agreement.update(_heard(SAID[:4]))
    assert agreement.text == ""


def test_what_two_agree_on_is_said_and_what_they_differ_on_is_not() -> None:
    agreement = LocalAgreement()
    agreement.update(_heard([*SAID[:3], Word("wrong", 1.5, 1.9)]))

    assert agreement.update(_heard(SAID[:6]))

    assert agreement.text == "w0 w1 w2"


def test_case_and_punctuation_make_no_difference() -> None:
    agreement = LocalAgreement()
    agreement.update(_heard([Word("Well.", 0.0, 0.4)]))

    agreement.update(_heard([Word("well,", 0.0, 0.4), SAID[1]]))

    assert agreement.text == "well,"


def test_the_end_of_a_phrase_says_all_of_it_at_once() -> None:
    agreement = LocalAgreement()

    assert agreement.update(_heard(SAID[:4], pause=True))

    assert agreement.text == "w0 w1 w2 w3"
    assert agreement.window_start == SAID[3].end


def test_a_word_heard_again_at_the_edge_of_a_window_is_not_doubled() -> None:
    agreement = LocalAgreement()
    agreement.update(_heard(SAID[:4], pause=True))

    late = Word("w3", 1.85, 2.0)
    agreement.update(_heard([late, *SAID[4:6]], pause=True))

    assert agreement.text == "w0 w1 w2 w3 w4 w5"


def test_a_word_that_is_said_twice_is_kept_twice() -> None:
    agreement = LocalAgreement()
    agreement.update(_heard([Word("no", 0.0, 0.4)], pause=True))

    agreement.update(_heard([Word("no", 1.2, 1.6)], pause=True))

    assert agreement.text == "no no"


def test_a_phrase_without_end_does_not_make_the_window_grow_for_ever() -> None:
    agreement = LocalAgreement()
    for count in range(2, 200):
        fresh = [word for word in SAID[:count] if word.start >= agreement.window_start]
        agreement.update(_heard(fresh, end=SAID[count - 1].end))
        assert SAID[count - 1].end - agreement.window_start < MAX_WINDOW_SECONDS + 1.5

    assert agreement.text == " ".join(word.text for word in SAID[: len(agreement.words)])
    assert len(agreement.words) >= 198


@pytest.mark.parametrize("seed", range(30))
def test_an_unsteady_listener_makes_no_text_flicker(seed: int) -> None:
    chance = random.Random(seed)
    agreement, texts, count = LocalAgreement(), [""], 0
    while count < len(SAID):
        count = min(len(SAID), count + chance.randint(1, 4))
        fresh = [word for word in SAID[:count] if word.start >= agreement.window_start - 0.2]
        # The last words of what is unfinished are often misheard.
        unsure = chance.randint(0, 2)
        guesses = [
            Word(f"guess{chance.random()}", word.start, word.end) for word in fresh[-unsure:]
        ]
        has_paused = chance.random() < 0.2
        heard = fresh if has_paused else [*fresh[: len(fresh) - len(guesses)], *guesses]
        if unsure == 0 or has_paused:
            heard = fresh
        agreement.update(_heard(heard, end=SAID[count - 1].end, pause=has_paused))
        texts.append(agreement.text)
    agreement.update(
        _heard([w for w in SAID if w.start >= agreement.window_start - 0.2], pause=True)
    )

    assert all(after.startswith(before) for before, after in itertools.pairwise(texts))
    assert agreement.text == " ".join(word.text for word in SAID)
