"""The interviewer's question in a transcript: what repeats it, and what only resembles it."""

import pytest

from coach_ai.domain import Answer
from coach_ai.embeddings import Embeddings
from coach_ai.scoring.echo import find_echoes, split_around
from coach_ai.scoring.local.scorer import LocalScorer

QUESTION = "Tell me about a time you solved a hard problem."
FIRST = "Last year I was working on the payments team of a small online shop."
REST = (
    "Every Friday evening our checkout failed for one customer in twenty. I measured every step and"
    " found that we ran out of connections to the bank. I wrote a small pool and tested it for a"
    " week. Failed payments dropped from five percent to almost none."
)
ANSWER = f"{FIRST} {REST}"


def _without_punctuation(text: str) -> str:
    return text.lower().replace(".", "")


ECHOED = {
    "before": f"{QUESTION} {ANSWER}",
    "in the middle": f"{FIRST} {QUESTION} {REST}",
    "after": f"{ANSWER} {QUESTION}",
    "twice before": f"{QUESTION} {QUESTION} {ANSWER}",
    "before and after": f"{QUESTION} {ANSWER} {QUESTION}",
    "its end": f"You solved a hard problem. {ANSWER}",
    "its begin": f"Tell me about a time you. {ANSWER}",
    "its end in the middle": f"{FIRST} A time you solved a hard problem. {REST}",
    "wrong words": f"Tell me about the time when you sold a heart problem. {ANSWER}",
    "wrong last word": f"{FIRST} Tell me about a time you solved a hard program. {REST}",
    "missing words": f"Tell me about time you solved hard problem. {ANSWER}",
    "most words wrong": f"{FIRST} Tell me about the type when you salt a hard problem. {REST}",
    "no punctuation": _without_punctuation(f"{QUESTION} {ANSWER}"),
    "no capitals": f"{FIRST} {QUESTION.lower()} {REST}",
}


def _words(text: str) -> list[str]:
    return _without_punctuation(text).split()


@pytest.mark.parametrize("text", ECHOED.values(), ids=ECHOED)
def test_question_is_found_in_any_place(text: str) -> None:
    parts = split_around(text, find_echoes(text, QUESTION))

    assert _words(" ".join(text[begin:end] for begin, end in parts)) == _words(ANSWER)


@pytest.mark.parametrize(
    "text",
    [
        ANSWER,
        f"A time I solved a hard problem was last winter. {ANSWER}",
        f"You asked about a time when I solved a hard problem, so here is one. {ANSWER}",
        "I solved a hard problem when the boiler broke, and my boss told me about a time before.",
        "",
    ],
)
def test_own_restatement_is_no_echo(text: str) -> None:
    assert find_echoes(text, QUESTION) == ()


@pytest.mark.parametrize("question", [None, "", "Any weakness?"])
def test_question_of_few_words_has_no_echo(question: str | None) -> None:
    assert find_echoes(f"Any weakness? {ANSWER}", question) == ()


def test_question_without_a_word_to_the_speaker_is_found_as_a_whole() -> None:
    question = "What is the difference between a list and a tuple?"

    assert find_echoes(f"{question} A tuple is fixed.", question) == ((0, len(question)),)
    assert find_echoes("The difference between a list is small.", question) == ()


@pytest.mark.parametrize("text", ECHOED.values(), ids=ECHOED)
def test_echo_changes_no_score_and_is_not_quoted(embeddings: Embeddings, text: str) -> None:
    scorer = LocalScorer(embeddings)
    own = _without_punctuation(ANSWER) if text == ECHOED["no punctuation"] else ANSWER

    alone, echoed = (scorer.score_answer(Answer("T", QUESTION, one, "en")) for one in (own, text))

    assert alone.overall_score is not None and echoed.overall_score is not None
    assert abs(echoed.overall_score - alone.overall_score) <= 2
    quotes = [remark.quote.lower() for remark in echoed.remarks]
    quotes += [quote.lower() for quote in echoed.star.values() if quote]
    assert echoed.main_improvement is not None
    quotes.append(echoed.main_improvement.quote.lower())
    assert not any("tell me" in quote or "you s" in quote for quote in quotes)


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("tell me about a time ", QUESTION),
        ("you solved a me ", QUESTION),
        (f"{QUESTION} ", QUESTION * 8),
        ("a ", "a b " * 400),
    ],
)
def test_longest_text_is_searched_in_bounded_work(text: str, question: str) -> None:
    longest = (text * (100_000 // len(text) + 1))[:100_000]

    echoes = find_echoes(longest, question)

    assert len(echoes) <= 40
