"""LocalAgreement: committed words are complete, unique and never changed."""

import itertools
import random

import pytest

from coach_ai.domain import Word
from coach_ai.speech.local_agreement import MAX_WINDOW_SECONDS, Hypothesis, LocalAgreement

WORDS = [Word(f"w{number}", number * 0.5, number * 0.5 + 0.4) for number in range(200)]


def _hypothesis(words: list[Word], *, end: float | None = None, pause: bool = False) -> Hypothesis:
    last = words[-1].end if words else 0.0
    return Hypothesis(tuple(words), last if end is None else end, last if pause else None)


def test_single_hypothesis_commits_nothing() -> None:
    agreement = LocalAgreement()

    assert not agreement.update(_hypothesis(WORDS[:4]))
    assert agreement.text == ""


def test_common_prefix_of_two_hypotheses_is_committed() -> None:
    agreement = LocalAgreement()
    agreement.update(_hypothesis([*WORDS[:3], Word("wrong", 1.5, 1.9)]))

    assert agreement.update(_hypothesis(WORDS[:6]))

    assert agreement.text == "w0 w1 w2"


def test_settling_commits_all_but_the_last_word_once() -> None:
    agreement = LocalAgreement()
    agreement.update(_hypothesis(WORDS[:4]))

    assert agreement.settle()
    assert not agreement.settle()
    assert agreement.text == "w0 w1 w2"

    agreement.update(_hypothesis(WORDS[:6]))
    assert agreement.text == "w0 w1 w2 w3"


def test_agreement_ignores_case_and_punctuation() -> None:
    agreement = LocalAgreement()
    agreement.update(_hypothesis([Word("Well.", 0.0, 0.4)]))

    agreement.update(_hypothesis([Word("well,", 0.0, 0.4), WORDS[1]]))

    assert agreement.text == "well,"


def test_phrase_end_commits_the_whole_phrase() -> None:
    agreement = LocalAgreement()

    assert agreement.update(_hypothesis(WORDS[:4], pause=True))

    assert agreement.text == "w0 w1 w2 w3"
    assert agreement.window_start == WORDS[3].end


def test_word_at_window_edge_is_not_repeated() -> None:
    agreement = LocalAgreement()
    agreement.update(_hypothesis(WORDS[:4], pause=True))

    late = Word("w3", 1.85, 2.0)
    agreement.update(_hypothesis([late, *WORDS[4:6]], pause=True))

    assert agreement.text == "w0 w1 w2 w3 w4 w5"


def test_repeated_word_is_committed_twice() -> None:
    agreement = LocalAgreement()
    agreement.update(_hypothesis([Word("no", 0.0, 0.4)], pause=True))

    agreement.update(_hypothesis([Word("no", 1.2, 1.6)], pause=True))

    assert agreement.text == "no no"


def test_window_is_bounded_in_a_phrase_without_end() -> None:
    agreement = LocalAgreement()
    for count in range(2, 200):
        fresh = [word for word in WORDS[:count] if word.start >= agreement.window_start]
        agreement.update(_hypothesis(fresh, end=WORDS[count - 1].end))
        assert WORDS[count - 1].end - agreement.window_start < MAX_WINDOW_SECONDS + 1.5

    assert agreement.text == " ".join(word.text for word in WORDS[: len(agreement.words)])
    assert len(agreement.words) >= 198


@pytest.mark.parametrize("seed", range(30))
def test_unstable_hypotheses_never_change_committed_text(seed: int) -> None:
    chance = random.Random(seed)
    agreement, texts, count = LocalAgreement(), [""], 0
    while count < len(WORDS):
        count = min(len(WORDS), count + chance.randint(1, 4))
        fresh = [word for word in WORDS[:count] if word.start >= agreement.window_start - 0.2]
        # The last words of what is unfinished are often misheard.
        unsure = chance.randint(0, 2)
        guesses = [
            Word(f"guess{chance.random()}", word.start, word.end) for word in fresh[-unsure:]
        ]
        has_paused = chance.random() < 0.2
        window_words = fresh if has_paused else [*fresh[: len(fresh) - len(guesses)], *guesses]
        if unsure == 0 or has_paused:
            window_words = fresh
        agreement.update(_hypothesis(window_words, end=WORDS[count - 1].end, pause=has_paused))
        texts.append(agreement.text)
    agreement.update(
        _hypothesis([w for w in WORDS if w.start >= agreement.window_start - 0.2], pause=True)
    )

    assert all(after.startswith(before) for before, after in itertools.pairwise(texts))
    assert agreement.text == " ".join(word.text for word in WORDS)
