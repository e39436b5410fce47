"""Finds the interviewer's own words in a transcript. Plain Python.

A loudspeaker repeats a turn into the microphone: greeting, question, follow-up or the words during
a silence. The rule of `scoring.echo` finds each sentence. A follow-up quotes the candidate, who may
say the quoted words again. So a quote is an echo only together with the interviewer's words.
"""

import re
from collections.abc import Iterator, Sequence

from coach_ai.domain import Answer, Transcript
from coach_ai.interview.answer_clock import find_asking_turn
from coach_ai.interview.intents import find_intent
from coach_ai.interview.model import Intent, Interview, Turn
from coach_ai.interview.silence import write_silence_prompt
from coach_ai.scoring.echo import INTERVIEWER_WORDS, MIN_QUESTION_TOKENS, Span, find_echoes
from coach_ai.scoring.set_aside import set_aside_spans
from coach_ai.text import Sentence, split_sentences, tokenize

_MAX_LATER_TEXTS = 4
"""Hints and repetitions after the question, which bounds the time of the search."""
_MAX_REST_WORDS = 2
"""Words beside the own voice that are no answer: the recogniser's errors."""
_QUOTE = re.compile(r"“[^”]*”")


def list_spoken_texts(interview: Interview, turns: Sequence[Turn]) -> list[str]:
    """Return the different texts of the interviewer since it asked the open question or follow-up.

    Args:
        interview: The interview.
        turns: Its turns before the answer, oldest first.
    """
    asked = find_asking_turn(interview, turns)
    later = dict.fromkeys(turn.response for turn in turns if turn.number > asked.number)
    newest = list(later)[-_MAX_LATER_TEXTS:]
    return list(dict.fromkeys((asked.response, *newest, write_silence_prompt(interview))))


def read_spoken_answer(
    interview: Interview, turns: Sequence[Turn], transcript: Transcript
) -> Answer:
    """Return the answer to the open question in a recording, without the interviewer's own voice.

    Its text is empty if there is nothing else. `turns` are the turns before it, oldest first.
    """
    answer = Answer.from_transcript(
        interview.setup.title, interview.current.question.text, transcript
    )
    spans = find_own_voice(answer.text, list_spoken_texts(interview, turns))
    return set_aside_spans(answer, spans)


def find_spoken_intent(text: str, transcript: Transcript | None) -> Intent:
    """Return what the candidate wants with a recording.

    Args:
        text: What `read_spoken_answer` returned of it.
        transcript: The whole transcript, or None if the recording is nothing but noise.
    """
    intent = find_intent(text)
    has_own_voice = transcript is not None and text != transcript.text
    is_rest = has_own_voice and len(tokenize(text)) <= _MAX_REST_WORDS
    return Intent.NO_ANSWER if not text or (is_rest and intent is Intent.ANSWER) else intent


def find_own_voice(text: str, spoken_texts: Sequence[str]) -> tuple[Span, ...]:
    """Return the parts of a text that repeat what the interviewer said, in order."""
    sentences = split_sentences(text)
    found: list[Span] = []
    for spoken in spoken_texts:
        own = [
            span
            for part in _list_searched_parts(spoken)
            for span in find_echoes(text, part)
            if _is_interviewer(text, span, sentences)
        ]
        # The whole turn, with its quote, is an echo where the interviewer's own words are found.
        whole = [one for one in find_echoes(text, spoken) if any(_overlap(one, two) for two in own)]
        found += own + whole
    return _add_short_sentences(_merge(found), sentences, spoken_texts)


def _list_searched_parts(spoken: str) -> Iterator[str]:
    """Return the passages between quotes, and each sentence of them."""
    for passage in _QUOTE.split(spoken):
        sentences = split_sentences(passage)
        if len(sentences) > 1:
            yield passage
        yield from (one.text for one in sentences)


def _is_interviewer(text: str, span: Span, sentences: Sequence[Sentence]) -> bool:
    """Return whether an echo addresses the candidate, or ends with its sentence.

    "What came out of it in the end was a faster build" is the candidate's own restatement.
    """
    if INTERVIEWER_WORDS.intersection(tokenize(text[slice(*span)])):
        return True
    return any(span[0] < one.end <= span[1] for one in sentences)


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _merge(spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _add_short_sentences(
    spans: Sequence[Span], sentences: Sequence[Sentence], spoken_texts: Sequence[str]
) -> tuple[Span, ...]:
    """Add sentences such as “Good day.” that are too short to be found, beside an echo."""
    short = {
        one.tokens
        for spoken in spoken_texts
        for one in split_sentences(spoken)
        if len(one.tokens) < MIN_QUESTION_TOKENS
    }
    beside = [
        (one.begin, one.end)
        for one in sentences
        if one.tokens in short and any(_is_beside(one, span, sentences) for span in spans)
    ]
    return tuple(_merge([*spans, *beside]))


def _is_beside(sentence: Sentence, span: Span, sentences: Sequence[Sentence]) -> bool:
    """Return whether no other sentence lies between a sentence and a span."""
    if sentence.end <= span[0]:
        return not any(sentence.end <= one.begin and one.end <= span[0] for one in sentences)
    if span[1] <= sentence.begin:
        return not any(span[1] <= one.begin and one.end <= sentence.begin for one in sentences)
    return False
