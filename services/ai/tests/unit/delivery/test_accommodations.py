"""What is switched off for a speaker is neither shown, nor mentioned, nor scored."""

import json
import re
from dataclasses import asdict, replace

import pytest

from coach_ai.delivery import drop_metrics, drop_remarks, measure, measure_audio
from coach_ai.domain import (
    Accommodation,
    Answer,
    AudioAnalysis,
    CompletedSession,
    Feedback,
    MainImprovement,
    Remark,
    Silence,
    Word,
)
from coach_ai.scoring.local.scorer import LocalScorer
from coach_ai.use_cases.feedback import build_feedback_event
from coach_common.ids import new_id

QUESTION = "Tell me about a time you solved a hard problem."
FLUENT = (
    "Last year I was working on the payments team of a small shop. Our checkout kept failing every"
    " Friday evening. My job was to find the cause before the sales. First I reproduced the failure"
    " and measured every step. I found that we ran out of connections. I wrote a pool and tested it"
    " for a week. Before the release I asked two colleagues to review the change with me. They"
    " found one more place where a connection stayed open, and I closed it the same day. Then I"
    " wrote a short report for the support team and explained to them what their customers would"
    " see. As a result, failed payments dropped from five percent to almost zero."
)
WITH_FILLERS = FLUENT.replace("I ", "um basically, you know, I ")
WORDS = re.compile(r"\bpace|paus|filler|hesitat|fluen", re.IGNORECASE)


def _speak(text: str, seconds_per_word: float, pause_seconds: float = 0.0) -> Answer:
    """Return the answer at this rate, with a pause after every fifth word."""
    words: list[Word] = []
    silences: list[Silence] = []
    at = 1.0
    for number, word in enumerate(text.split(), 1):
        words.append(Word(word, at, at + seconds_per_word, 0.95))
        at += seconds_per_word
        if pause_seconds and number % 5 == 0:
            silences.append(Silence(at, at + pause_seconds))
            at += pause_seconds
    return Answer("T", QUESTION, text, "en", at, tuple(words), tuple(silences))


PERFECT = _speak(FLUENT, 0.39)
SLOW = _speak(FLUENT, 0.9, pause_seconds=3.0)
ALL = tuple(Accommodation)


def _scores(feedback: Feedback) -> tuple[object, ...]:
    return (
        feedback.overall_score,
        feedback.communication_score,
        feedback.technical_score,
        feedback.clarity_score,
        feedback.dimensions,
        feedback.score_spread,
    )


def test_switched_off_metrics_move_no_score_and_are_not_mentioned() -> None:
    scorer = LocalScorer()
    perfect, scored = scorer.score_answer(PERFECT), scorer.score_answer(SLOW)
    shown = scorer.score_answer(replace(SLOW, accommodations=ALL))
    session = CompletedSession(new_id(), new_id(), "T", QUESTION, None, None, None)
    event = build_feedback_event(session, shown, None, None)

    assert _scores(scored) != _scores(perfect)
    assert WORDS.search(scored.detailed_feedback)
    assert _scores(shown) == _scores(perfect)
    assert not WORDS.search(event.model_dump_json(exclude={"star", "transcript"}))
    assert "pitch_variation" in shown.delivery


def test_fillers_that_are_switched_off_move_no_score() -> None:
    scorer = LocalScorer()
    perfect = scorer.score_answer(
        replace(_speak(WITH_FILLERS, 0.39), accommodations=(Accommodation.FILLERS,))
    )
    slow = scorer.score_answer(
        replace(_speak(WITH_FILLERS, 0.9, pause_seconds=3.0), accommodations=ALL)
    )
    scored = scorer.score_answer(_speak(WITH_FILLERS, 0.39))

    assert any("filler" in one.text for one in scored.remarks)
    assert _scores(slow) == _scores(perfect)
    assert not any(WORDS.search(one.text) for one in slow.remarks)


def test_remark_on_fillers_does_not_mention_pauses_that_are_switched_off() -> None:
    answer = replace(_speak(WITH_FILLERS, 0.39), accommodations=(Accommodation.PAUSES,))

    remarks = LocalScorer().score_answer(answer).remarks

    assert "Drop the filler words here." in [one.text for one in remarks]
    assert not any("pause" in one.text for one in remarks)


@pytest.mark.parametrize("switched_off", list(Accommodation))
def test_only_the_metrics_of_the_setting_are_left_out(switched_off: Accommodation) -> None:
    every, kept = measure(SLOW), measure(SLOW, [switched_off])

    assert {"pace", "discourse_fillers", "silent_pauses", "loudness"} <= set(every)
    assert set(every) - set(kept)
    assert kept == drop_metrics(every, [switched_off])
    assert not [name for name in kept if switched_off.removesuffix("s") in name]


def test_first_metrics_of_the_audio_follow_the_setting() -> None:
    analysis = AudioAnalysis(60.0, (Silence(10.0, 14.0),), None)

    first = measure_audio(analysis, ALL)

    assert first is not None
    assert not WORDS.search(json.dumps(first))


def test_texts_of_a_model_about_what_is_switched_off_are_dropped() -> None:
    feedback = Feedback(
        70, 70, None, 70,
        (
            Remark("improvement", "clarity", "Your pace was uneven.", "It took"),
            Remark("improvement", "clarity", "You said um often.", "It took"),
            Remark("strength", "structure", "You fixed a slow site.", "It took"),
        ),
        "Well told. You paused too long! Name the result.", "openai", "m", "1",
        main_improvement=MainImprovement("Slow down.", "It took", "Read aloud."),
    )  # fmt: skip

    kept = drop_remarks(feedback, ALL)

    assert [one.text for one in kept.remarks] == ["You fixed a slow site."]
    assert kept.detailed_feedback == "Well told. Name the result."
    assert kept.main_improvement is None
    assert drop_remarks(feedback, ()) == feedback
    silent = replace(feedback, detailed_feedback="You stutter.")
    assert "stutter" not in json.dumps(asdict(drop_remarks(silent, (Accommodation.PACE,))))
