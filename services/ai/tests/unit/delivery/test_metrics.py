"""Each delivery metric on generated word streams with known values."""

from dataclasses import replace

import pytest

from coach_ai.delivery import measure, measure_audio
from coach_ai.delivery.fillers import held_vowels_between
from coach_ai.domain import (
    AcousticFeatures,
    Answer,
    AudioAnalysis,
    HeldVowel,
    PitchWindow,
    Silence,
    Transcript,
    Word,
)

SOUND = AcousticFeatures(-25.0, -55.0, 0.0, (PitchWindow(0.0, 120.0, 24.0, 600),), ())


def _answer(
    texts: list[str], *, each: float = 0.5, quiet: tuple[Silence, ...] = (), offset: float = 0.0
) -> Answer:
    words = tuple(
        Word(text, offset + i * each, offset + (i + 1) * each) for i, text in enumerate(texts)
    )
    return Answer("T", "Q", " ".join(texts), "en", offset + len(texts) * each, words, quiet, SOUND)


def test_pace_steadiness_detects_a_halved_pace() -> None:
    even = _answer(["word"] * 120)
    halved = replace(
        even,
        words=tuple(Word("word", i * 0.25, i * 0.25 + 0.25) for i in range(120))
        + tuple(Word("word", 30 + i * 0.5, 30.5 + i * 0.5) for i in range(60)),
    )

    assert measure(even)["pace_steadiness"]["value"] == 0.0
    assert measure(even)["pace_steadiness"]["n"] == 4
    # Windows of 60, 60, 30, 30 words: a mean of 45 and a deviation of 15.
    assert measure(halved)["pace_steadiness"]["value"] == round(15 / 45, 3)


def test_pace_excludes_all_words_of_fillers() -> None:
    texts = (["so", "we", "built", "it"] * 14) + ["you", "know", "um", "basically"]

    measured = measure(_answer(texts))

    assert measured["pace"]["n"] == 56
    assert measured["discourse_fillers"]["n"] == 2
    assert measured["discourse_fillers"]["value"] == round(100 * 2 / 60, 2)


def test_articulation_rate_excludes_pauses() -> None:
    quiet = (Silence(5.0, 6.0), Silence(10.0, 11.0), Silence(12.0, 12.2))

    measured = measure(_answer(["table"] * 50, quiet=quiet))

    assert measured["articulation_rate"]["value"] == round(100 / 23, 2)
    assert measured["articulation_rate"]["verdict"] == "inside"
    assert measured["mean_length_of_run"]["value"] == round(100 / 3, 2)
    assert measured["phonation_ratio"]["value"] == 0.92
    assert measured["silent_pauses"]["n"] == 2


def test_pause_length_is_robust_to_one_long_pause() -> None:
    quiet = (Silence(2, 2.4), Silence(5, 5.5), Silence(8, 14))

    measured = measure(_answer(["word"] * 60, quiet=quiet))

    assert measured["pause_length"]["value"] == 0.5
    assert measured["long_pauses"]["value"] == 1


@pytest.mark.parametrize(
    ("before", "after", "is_inside"),
    [("end.", "Next", False), ("end,", "next", False), ("my", "team", True), ("it", "and", False)],
)
def test_pause_inside_clause_excludes_clause_boundaries(
    before: str, after: str, is_inside: bool
) -> None:
    # The recogniser stretches the word before over the pause, from 9.5 to 10.6 s.
    texts = ["Well,"] + ["word"] * 18 + [before, after] + ["word"] * 39
    answer = _answer(texts, quiet=(Silence(9.75, 10.5),))
    stretched = [replace(word, end=10.6) if word.text == before else word for word in answer.words]

    measured = measure(replace(answer, words=tuple(stretched)))

    assert measured["pauses_inside_clauses"]["value"] == float(is_inside)


def test_pauses_inside_clauses_need_punctuation() -> None:
    measured = measure(_answer(["word"] * 60, quiet=(Silence(5.0, 6.0),)))

    assert measured["pauses_inside_clauses"]["verdict"] == "not_measurable"
    assert measured["pauses_inside_clauses"]["reason"] == "the transcript has no punctuation"


def test_speech_span_follows_audio_instead_of_stretched_words() -> None:
    quiet = (Silence(0.0, 2.5), Silence(34.0, 36.0))
    answer = _answer(["word"] * 70, quiet=quiet)
    answer = replace(
        answer, words=(*answer.words[5:6], *answer.words[6:69], Word("word", 33.5, 35.9))
    )
    first = replace(answer.words[0], start=0.0)

    measured = measure(replace(answer, words=(first, *answer.words[1:])))

    assert measured["response_latency"]["value"] == 2.5
    assert measured["answer_length"]["value"] == 31.5
    assert measured["silent_pauses"]["value"] == 0.0


HELD_VOWEL = HeldVowel(10.1, 10.5, 1.0)


@pytest.mark.parametrize(
    ("words", "is_between"),
    [
        ([Word("before", 9.5, 10.0), Word("after", 10.6, 11.0)], True),
        ([Word("so", 9.8, 10.6)], True),
        ([Word("so", 10.05, 10.55)], False),
        ([Word("considerable", 9.8, 10.6)], False),
        ([Word("um,", 9.8, 10.9)], False),
    ],
)
def test_held_vowel_that_a_word_needs_is_not_a_filled_pause(
    words: list[Word], is_between: bool
) -> None:
    assert (held_vowels_between([HELD_VOWEL], words) == [HELD_VOWEL]) is is_between


def test_slightly_drawn_out_vowel_is_not_a_filled_pause() -> None:
    # The words that whisper base transcribed from a synthetic voice, which does not hesitate.
    usual = [Word("word", i * 0.24, i * 0.24 + 0.24) for i in range(20)]
    words = [*usual, Word("database", 25.94, 26.4), Word("looked", 26.4, 26.94)]

    assert held_vowels_between([HeldVowel(26.34, 26.54, 2.9)], words) == []
    assert len(held_vowels_between([HeldVowel(26.34, 26.74, 2.9)], words)) == 1
    assert len(held_vowels_between([HeldVowel(26.95, 27.2, 2.9)], words)) == 1


def test_filled_pauses_add_words_and_audio() -> None:
    answer = _answer(["word"] * 30 + ["um"] + ["word"] * 29)
    vowels = (HeldVowel(30.5, 31.0, 1.0), HeldVowel(31.5, 31.9, 1.0), HeldVowel(5.05, 5.45, 1.0))

    filled = measure(replace(answer, acoustic_features=replace(SOUND, held_vowels=vowels)))[
        "filled_pauses"
    ]

    assert (filled["in_words"], filled["in_sound"], filled["n"]) == (1, 2, 3)
    assert filled["unit"] == "per min, at least"
    assert filled["confidence"] == "low"
    assert filled["moments"] == [[15.0, 15.5], [30.5, 31.0], [31.5, 31.9]]
    assert answer.text.split().count("um") == 1


@pytest.mark.parametrize(("spread", "verdict"), [(6.0, "below"), (24.0, "inside"), (60.0, "above")])
def test_pitch_variation_is_mean_over_windows(spread: float, verdict: str) -> None:
    windows = (PitchWindow(0, 120.0, spread, 500), PitchWindow(10, 120.0, spread, 500))

    pitch = measure(
        replace(_answer(["word"] * 60), acoustic_features=replace(SOUND, pitch=windows))
    )["pitch_variation"]

    assert (pitch["value"], pitch["verdict"], pitch["n"]) == (spread / 120, verdict, 2)


@pytest.mark.parametrize(
    "poor",
    [replace(SOUND, clipped=0.02), replace(SOUND, noise_dbfs=-28.0)],
    ids=["distorted", "noisy"],
)
def test_poor_recording_has_word_metrics_only(
    poor: AcousticFeatures,
) -> None:
    poor = replace(poor, held_vowels=(HeldVowel(30.5, 31.0, 1.0),))

    measured = measure(replace(_answer(["word"] * 60), acoustic_features=poor))

    for name in ("silent_pauses", "phonation_ratio", "pitch_variation", "articulation_rate"):
        assert measured[name]["verdict"] == "not_measurable"
        assert measured[name]["reason"].startswith("the recording is")
    assert measured["filled_pauses"]["in_sound"] == 0
    assert measured["pace"]["value"] == 120.0


def test_metrics_without_acoustic_features_are_partial() -> None:
    measured = measure(replace(_answer(["word"] * 60), acoustic_features=None))

    assert measured["pitch_variation"]["verdict"] == "not_measurable"
    assert measured["pitch_variation"]["reason"] == "the audio was not analysed"
    assert measured["pace"]["value"] == 120.0
    assert measured["silent_pauses"]["value"] == 0.0


def test_every_metric_has_unit_source_and_n() -> None:
    measured = measure(_answer(["word"] * 60, quiet=(Silence(5.0, 6.0),)))

    for name, one in measured.items():
        assert {"value", "unit", "band", "verdict", "source", "n"} <= one.keys(), name
        assert one["unit"] and one["source"], name
        assert (one["band"] is None) == (one["verdict"] in ("report_only", "not_measurable")), name


def test_transcript_and_answer_have_equal_metrics() -> None:
    answer = _answer(["word"] * 60)
    transcript = Transcript(
        answer.text,
        "en",
        30.0,
        "local",
        "base",
        answer.words,
        answer.silences,
        answer.acoustic_features,
    )

    assert measure(transcript) == measure(answer)


def test_acoustic_metrics_equal_those_of_the_full_measurement() -> None:
    quiet = (Silence(0.0, 1.5), Silence(5.0, 6.0), Silence(10.0, 12.5), Silence(31.5, 33.0))
    answer = _answer(["table"] * 60, quiet=quiet, offset=1.5)

    early = measure_audio(AudioAnalysis(33.0, quiet, SOUND))

    assert early is not None
    whole = measure(answer)
    assert early.keys() == whole.keys()
    known = {name: figure for name, figure in early.items() if figure["value"] is not None}
    assert known.keys() == {
        "silent_pauses", "pause_length", "long_pauses", "phonation_ratio", "pitch_variation",
        "loudness", "over_noise", "clipping", "response_latency", "answer_length",
    }  # fmt: skip
    assert {name: figure["value"] for name, figure in known.items()} == {
        name: whole[name]["value"] for name in known
    }
    for name in early.keys() - known.keys():
        assert (early[name]["verdict"], early[name]["reason"]) == (
            "not_measurable",
            "waiting for the transcript",
        )


def test_no_acoustic_metrics_under_20_s_of_speech() -> None:
    assert measure_audio(AudioAnalysis(24.0, (Silence(10.0, 15.0),), SOUND)) is None


def test_poor_recording_has_no_acoustic_metrics() -> None:
    early = measure_audio(AudioAnalysis(30.0, (), replace(SOUND, noise_dbfs=-29.0)))

    assert early is not None
    assert early["silent_pauses"]["reason"] == "the recording is too noisy"
    assert early["pace"]["reason"] == "waiting for the transcript"
