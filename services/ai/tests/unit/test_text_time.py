"""Functions that read a user's text take less than a second, or linear time on a slow machine.

The local scorer has its own test.
"""

from collections.abc import Callable
from contextlib import suppress

import pytest

from coach_ai.chat.knowledge_base import search
from coach_ai.chat.local_chat import compose_reply
from coach_ai.chat.sanitizer import StreamingSanitizer, sanitize
from coach_ai.delivery.fillers import find_fillers
from coach_ai.delivery.words import count_syllables, normalise_word
from coach_ai.domain import Answer, ChatContext, Message, Word, extractive_summary, make_title
from coach_ai.rewriting.own_sentences import list_own_sentences
from coach_ai.rewriting.verification import ProposedSentence, Unsupported, verify
from coach_ai.scoring.answer_validation import rejection_reason, strip_injections
from coach_ai.scoring.quotes import find_quote, quote_times
from coach_ai.scoring.set_aside import set_aside_non_answer
from coach_ai.text import split_sentences, tokenize
from coach_ai.vocabulary import build_prompt
from coach_common.testing.cost import is_linear, measure_cost

MAX_CPU_SECONDS = 1.0
MAX_ANSWER_CHARACTERS = 100_000
MAX_MESSAGE_CHARACTERS = 8_000
MAX_QUESTION_CHARACTERS = 2_000
QUESTION = "How would you design a service that shortens a very long address for many people?"
REPEATED = {
    "digits": "1 ",
    "decimals": "1.1.",
    "one_letter": "a",
    "letters": "a ",
    "no_space": "a.",
    "punctuation": "?!",
    "apostrophes": "'",
    "empty_lines": "\n \n",
    "cues": "1\n00:00 --> 00:01\n",
    "times": "[0:00 - ",
    "labels": "Q: a\n",
    "end_of_recording": "and that's it ",
    "stop_recording": "how do i stop it now ",
    "start_of_recording": "ok so um wait a second ",
    "injections": "please give a a a a a a a a a ",
    "nested_tags": "<a",
    "nested_links": "![a](",
    "brackets": "[a]((",
    "escapes": "\x1b[",
    "urls": "a://",
    "longer_in_lower_case": "\u0130",
    "question": "how would you design a service that shortens ",
}


def _answer(text: str, *, has_times: bool = False) -> Answer:
    words = tuple(
        Word(word, index * 0.3, index * 0.3 + 0.2)
        for index, word in enumerate(text.split() if has_times else ())
    )
    return Answer(title="T", question=QUESTION, text=text, words=words)


def _stream(text: str) -> str:
    sanitizer = StreamingSanitizer()
    return sanitizer.feed(text) + sanitizer.flush()


def _verify(text: str) -> None:
    proposed = ProposedSentence("I designed a [why?] service.", text[: len(text) // 2])
    with suppress(Unsupported):
        verify(proposed, text)


FUNCTIONS: dict[str, Callable[[str], object]] = {
    "split_sentences": split_sentences,
    "tokenize": tokenize,
    "sanitize": sanitize,
    "streaming_sanitizer": _stream,
    "set_aside": lambda text: set_aside_non_answer(_answer(text)),
    "set_aside_with_times": lambda text: set_aside_non_answer(_answer(text, has_times=True)),
    "rejection_reason": lambda text: rejection_reason(_answer(text)),
    "strip_injections": strip_injections,
    "find_missing_quote": lambda text: find_quote(text, text[: len(text) // 2] + " missing"),
    "quote_times": lambda text: quote_times(_answer(text, has_times=True), text[5000:5400]),
    "make_title": make_title,
    "extractive_summary": lambda text: extractive_summary(
        text, [Message("user", text)], budget=1000
    ),
    "list_own_sentences": lambda text: list_own_sentences(text, QUESTION),
    "verify_sentence": _verify,
    "count_syllables": count_syllables,
    "normalise_word": normalise_word,
    "find_fillers": lambda text: find_fillers(tokenize(text)),
    "build_prompt": lambda text: build_prompt(text[:MAX_QUESTION_CHARACTERS], text[:200]),
    "search_articles": lambda text: search(text[:MAX_MESSAGE_CHARACTERS]),
    "compose_reply": lambda text: compose_reply(
        ChatContext((Message("user", text[:MAX_MESSAGE_CHARACTERS]),))
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("unit", REPEATED.values(), ids=REPEATED)
def test_functions_read_the_longest_text_quickly(unit: str) -> None:
    text = (unit * (MAX_ANSWER_CHARACTERS // len(unit) + 1))[:MAX_ANSWER_CHARACTERS]
    assert _list_slow_functions(text) == {}


@pytest.mark.slow
def test_functions_read_deeply_nested_markup_quickly() -> None:
    layer = "<a" * 3_000 + ">" * 3_000
    assert _list_slow_functions((layer * 12)[:MAX_ANSWER_CHARACTERS]) == {}


def _list_slow_functions(text: str) -> dict[str, float]:
    """Return the seconds of the functions that take too long, and longer than in linear time.

    A slow machine delays linear functions too, but not by more than their shorter texts.
    """
    seconds = {name: measure_cost(function, text) for name, function in FUNCTIONS.items()}
    return {
        name: taken
        for name, taken in seconds.items()
        if taken > MAX_CPU_SECONDS and not is_linear(FUNCTIONS[name], text)
    }
