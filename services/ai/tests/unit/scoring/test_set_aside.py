"""The question, talk about the recording, labels and timestamps are not part of the answer."""

import pytest

from coach_ai.domain import Answer, Word
from coach_ai.scoring.set_aside import set_aside_non_answer

QUESTION = "Tell me about a time you solved a hard problem."
ANSWER = (
    "Last year I was working on the payments team of a small online shop. Every Friday evening our"
    " checkout started to fail. My job was to find the cause."
)


def _spoken(text: str, question: str | None = QUESTION) -> Answer:
    words = tuple(
        Word(word, index * 0.5, index * 0.5 + 0.4) for index, word in enumerate(text.split())
    )
    return Answer("T", question, text, "en", 60.0, words, ())


@pytest.mark.parametrize(
    "before",
    [
        QUESTION,
        "Tell me about the time you solved a hard problem.",
        "Tell me about a time, you sold a hard problem?",
        "A time you solved a hard problem.",
        "Hello? Can you hear me? Is it recording? Let me start again.",
        "Sorry, hello, can you hear me?",
        "Okay, is this thing on?",
        "Testing, testing, one, two, three.",
        f"Is it recording? {QUESTION}",
        f"{QUESTION} Okay, let me start over.",
        f"{QUESTION} {QUESTION}",
    ],
)
def test_what_precedes_the_answer_is_set_aside(before: str) -> None:
    answer = _spoken(f"{before} {ANSWER}")

    kept = set_aside_non_answer(answer)

    assert kept.text == ANSWER
    assert [word.text for word in kept.words] == ANSWER.split()
    first = len(before.split()) * 0.5
    assert kept.words[0].start == pytest.approx(first)
    assert kept.set_aside == ((0.0, pytest.approx(first - 0.1)),)


@pytest.mark.parametrize(
    "after",
    [
        "That's it. How do I stop this?",
        "Okay, that's all.",
        "And that's it, I think that's it. Where do I stop the recording?",
        "How do I turn this off?",
        "Stop the recording.",
    ],
)
def test_what_follows_the_answer_is_set_aside(after: str) -> None:
    kept = set_aside_non_answer(_spoken(f"{ANSWER} {after}"))

    assert kept.text == ANSWER
    assert [word.text for word in kept.words] == ANSWER.split()


@pytest.mark.parametrize(
    "text",
    [
        ANSWER,
        f"A time I solved a hard problem was last winter. {ANSWER}",
        f"You asked about a time when I solved a hard problem, so here is one. {ANSWER}",
        "Hello, everyone heard me when I said that the recording was broken. " + ANSWER,
        "So. Well, the microphone project was mine. " + ANSWER,
        "Can you hear me was what my customer asked for an hour. " + ANSWER,
        f"{ANSWER} That's it in a nutshell: we measured first.",
        f"{ANSWER} How do I stop this from happening? I added an alarm.",
    ],
)
def test_answer_that_only_resembles_it_is_kept_whole(text: str) -> None:
    answer = _spoken(text)

    assert set_aside_non_answer(answer) == answer


def test_answer_of_nothing_else_is_unchanged() -> None:
    answer = _spoken(QUESTION)

    assert set_aside_non_answer(answer) == answer


def test_missing_question_is_no_error() -> None:
    assert set_aside_non_answer(_spoken(f"Is it recording? {ANSWER}", None)).text == ANSWER


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"Me: {ANSWER}", ANSWER),
        (f"[00:12] {ANSWER}", ANSWER),
        (f"(0:01:12.5) {ANSWER}", ANSWER),
        (f"Interviewer: {QUESTION}\nCandidate: {ANSWER}", ANSWER),
        (
            f"Q: {QUESTION}\nA: {ANSWER}\nQ: And then?\nA: We shipped it.",
            f"{ANSWER} We shipped it.",
        ),
        (f"Speaker 1: {QUESTION}\nSpeaker 2: {ANSWER}", ANSWER),
        (
            "WEBVTT\n\n1\n00:00:01.000 --> 00:00:04.000\nI led the team.\n\n"
            "2\n00:00:04.000 --> 00:00:06.000\nWe shipped it.",
            "I led the team. We shipped it.",
        ),
        ("0:00 I led the team.\n0:04 We shipped it.", "I led the team. We shipped it."),
        ("We met at 10:30 and shipped at 11:00.", "We met at 10:30 and shipped at 11:00."),
        ("The answer: we measured it first.", "The answer: we measured it first."),
    ],
)
def test_labels_and_timestamps_of_a_clients_text_are_set_aside(text: str, expected: str) -> None:
    kept = set_aside_non_answer(Answer("T", QUESTION, text))

    assert " ".join(kept.text.split()) == expected
