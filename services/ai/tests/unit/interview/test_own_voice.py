"""The interviewer's own voice in transcripts: what is set aside, and what the candidate says."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from coach_ai.domain import Transcript, Word
from coach_ai.interview.model import (
    Gap,
    GapKind,
    Intent,
    Interview,
    InterviewSetup,
    InterviewType,
    Manner,
    Persona,
    Position,
    Turn,
)
from coach_ai.interview.own_voice import (
    find_own_voice,
    find_spoken_intent,
    list_spoken_texts,
    read_spoken_answer,
)
from coach_ai.interview.plan import choose_plan
from coach_ai.interview.wording import load_phrases, write_opening
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.scoring.echo import split_around
from coach_common.ids import new_id

NOW = datetime(2026, 11, 27, tzinfo=UTC)
PERSONA = Persona(Manner.NEUTRAL, Position.RECRUITER)
OPENING = (
    "Good day. I am the recruiter for this position. I work by fixed rules, without a language"
    " model. Here is the first question. Tell me about a time you solved a hard problem."
)
QUOTE = "I moved the build to another machine"
FOLLOW_UP = f"I have a question about that. You said: “{QUOTE}” What did you do yourself, really?"
RESULT = "And what came out of it in the end?"
ANSWER = (
    "Last year our checkout failed every Friday. I measured each step, found a leak of connections"
    " and wrote a small pool. Failures dropped from five percent to almost none."
)


def _keep(text: str, *spoken: str) -> str:
    parts = split_around(text, find_own_voice(text, spoken))
    return " ".join(text[begin:end].strip() for begin, end in parts)


@pytest.mark.parametrize(
    "echo",
    [
        OPENING,
        OPENING.removeprefix("Good day. "),
        "Here is the first question. Tell me about a time you solved a hard problem.",
        "I am the recruiter for this position. I work by fixed rules, without a language model.",
        "I work by fixed rules without a language model. Here is the first question.",
        "The first question. Tell me about the time when you sold a heart problem.",
    ],
)
def test_opening_is_set_aside_before_and_within_the_answer(echo: str) -> None:
    first, rest = ANSWER.split(". ", 1)

    assert _keep(f"{echo} {ANSWER}", OPENING) == ANSWER
    assert _keep(f"{first}. {echo} {rest}", OPENING) == ANSWER


def test_follow_up_is_set_aside_with_its_quote() -> None:
    spoken = FOLLOW_UP.replace("“", "").replace("”", ".").replace("You said:", "You said")

    assert _keep(f"{spoken} {ANSWER}", FOLLOW_UP) == ANSWER


@pytest.mark.parametrize(
    "answer",
    [
        f"{QUOTE} because the cache was full. I wrote the script for that.",
        f"{ANSWER} As I said, {QUOTE.lower()}.",
        "What came out of it in the end was a faster build, four minutes instead of thirty.",
        "What I did myself was the script.",
        ANSWER,
    ],
)
def test_own_words_of_the_candidate_are_kept(answer: str) -> None:
    assert _keep(answer, FOLLOW_UP, RESULT) == answer
    assert _keep(f"{FOLLOW_UP} {answer}", FOLLOW_UP, RESULT) == answer


def test_words_and_times_of_the_own_voice_are_set_aside() -> None:
    interview, opening = _start()
    text = f"{opening.response} {ANSWER}"
    words = tuple(Word(word, at * 0.4, at * 0.4 + 0.3) for at, word in enumerate(text.split()))
    transcript = Transcript(text, "en", 60.0, "p", "m", words)

    spoken = read_spoken_answer(interview, [opening], transcript)

    count = len(opening.response.split())
    assert spoken.text == ANSWER
    assert [word.text for word in spoken.words] == ANSWER.split()
    assert spoken.set_aside == ((0.0, words[count - 1].end),)


@pytest.mark.parametrize(
    ("rest", "intent"),
    [
        ("", Intent.NO_ANSWER),
        ("Hard program.", Intent.NO_ANSWER),
        ("Skip.", Intent.SKIP),
        ("Hm.", Intent.ACKNOWLEDGEMENT),
        (ANSWER, Intent.ANSWER),
    ],
)
def test_own_voice_alone_is_no_answer(rest: str, intent: Intent) -> None:
    interview, opening = _start()
    transcript = Transcript(f"{opening.response} {rest}".strip(), "en", 60.0, "p", "m")

    spoken = read_spoken_answer(interview, [opening], transcript)

    assert (spoken.text, find_spoken_intent(spoken.text, transcript)) == (rest, intent)


def test_short_answer_without_own_voice_is_an_answer() -> None:
    assert find_spoken_intent("Mutex.", Transcript("Mutex.", "en", 1.0, "p", "m")) is Intent.ANSWER
    assert find_spoken_intent("", None) is Intent.NO_ANSWER


def test_everything_since_the_open_question_was_asked_counts_as_spoken() -> None:
    interview, opening = _start()
    probe = replace(opening, number=1, response=FOLLOW_UP, gap=Gap(GapKind.OWN_PART_UNCLEAR, QUOTE))
    hint = replace(opening, number=2, intent=Intent.HINT, response="Here is a hint. Name a fact.")

    spoken = list_spoken_texts(interview, [opening, probe, hint])

    assert spoken[:2] == [FOLLOW_UP, hint.response]
    assert spoken[2] == load_phrases().manners[PERSONA.manner]["silence"]


@pytest.mark.parametrize("manner", Manner)
def test_words_in_a_silence_are_set_aside_within_the_answer(manner: Manner) -> None:
    words = load_phrases().manners[manner]["silence"]
    first, rest = ANSWER.split(". ", 1)

    assert _keep(f"{first}. {words} {rest}", OPENING, words) == ANSWER
    assert _keep(f"Last year {words.lower()} {ANSWER}", OPENING, words) == f"Last year {ANSWER}"


def test_texts_of_many_turns_are_few() -> None:
    interview, opening = _start()
    hints = [
        replace(opening, number=number, intent=Intent.HINT, response=f"Hint {number % 9}.")
        for number in range(1, 119)
    ]

    spoken = list_spoken_texts(interview, [opening, *hints])

    assert spoken[0] == opening.response and len(spoken) == 6


def _start() -> tuple[Interview, Turn]:
    setup = InterviewSetup("T", InterviewType.BEHAVIORAL, PERSONA, question_limit=2)
    plan = choose_plan(load_question_bank().values(), setup, seed="1")
    interview = Interview(new_id(), new_id(), setup, plan, NOW, NOW)
    opening = write_opening(PERSONA, plan.questions[0])
    return interview, Turn(0, 1, Intent.ANSWER, "", opening, NOW)
