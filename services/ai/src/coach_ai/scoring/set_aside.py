"""Removes what is not the answer from a transcript: the question read aloud, talk about the
recording itself, speaker labels and timestamps. Plain Python.

The removed parts are neither praised nor criticised.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from coach_ai.domain import Answer, Word
from coach_ai.scoring.echo import MIN_QUESTION_TOKENS, Span, split_around
from coach_ai.text import TOKEN, Sentence, normalise, split_sentences

_MAX_ECHO_ERROR_RATE = 0.34
"""Token errors per question token. Loudspeaker and room cost the recogniser a word or two."""
_MAX_TAIL_ERROR_RATE = 0.15
_MIN_TAIL_TOKENS = 5
"""A recording may start within the question. Its end must then be recognised well."""
_MAX_ROUNDS = 6
_MAX_TALK_TOKENS = 40
"""Longest sentence that is checked for talk about the recording. Bounds the time to match it."""

_AT_START = (
    r"sorry|hello|hi|hey|okay|ok|um+|uh+|er+|so|right|wait( a (second|moment|minute|sec))?|hold on|"
    r"testing|(mic(rophone)? )?(check|test)( check| test)?|one two( three)?|"
    r"can (you|anybody|anyone) hear me( now)?|do you hear me|are you there|am i audible|"
    r"(is|are) (it|this|that|this thing|the thing|we) (even |actually |still |now )?"
    r"(recording|on|working|running)( now| yet)?|am i (being )?record(ing|ed)|"
    r"is (the|my) (mic|microphone|sound|audio|recording) (on|working|running|okay|ok)|"
    r"i (think|guess|hope) (it|this|it's|this is|it is|that's) ?(is )?"
    r"(recording|on|working)( now)?|"
    r"(it|this|it's|this is|it is) ?(is )?recording( now)?|recording( now| started)?|"
    r"(let me|i'll|i will|let's|i'm going to|can i) (just )?(start|begin|try|do (it|this|that)) "
    r"((it|this|that) )?(all )?(over|again|over again|once more)|"
    r"(start|starting|once) (again|over|more)|(okay |ok )?here (we|i) go|take (two|three)"
)
_AT_END = (
    r"okay|ok|so|right|um+|uh+|and|"
    r"(and )?(that's|that is|that was) (it|all|everything|my answer)( (i|that i) (have|had))?"
    r"( from me| really)?|i'm done|i am done|i think (that's|that is) (it|all)|the end|"
    r"(now )?(how|where) (do|can) (i|you|we) (now )?(stop|end|finish|submit|send|save|close|"
    r"turn off|switch off)( (it|this|that|this thing|the recording|the app|recording))?"
    r"( now| off)?|"
    r"(now )?how (do|can) (i|you|we) (turn|switch) (it|this|that|the recording|the app) off|"
    r"(where is|where's) (the|that) (stop )?(button)|(let me |i'll )?stop (it|this|the )? ?"
    r"(recording)?|stop|did (it|that|this) (record|work|save|stop)|"
    r"is (it|this) (still )?(recording|on|running)|which button( is it)?"
)
_TALK_AT_START = re.compile(rf"(?:(?:{_AT_START})(?: |$))+")
_TALK_AT_END = re.compile(rf"(?:(?:{_AT_END})(?: |$))+")
_LEADING_FILLER = re.compile(r"(sorry|hello|hi|hey|okay|ok|um+|uh+|er+|so|right|and|stop| )+")

_TIMESTAMP = r"(?:\d{1,2}:)?\d{1,2}:\d{2}(?:[.,]\d{1,3})?"
# Blanks within a line only: a pattern that crosses empty lines takes quadratic time.
_CUE = re.compile(
    rf"^[ \t]*(?:\d{{1,9}}[ \t\r]*\n[ \t]*)?{_TIMESTAMP}[ \t]*-->[ \t]*{_TIMESTAMP}[^\n]*$",
    re.MULTILINE,
)
_BRACKETED_TIME = re.compile(rf"[\[(<]\s*{_TIMESTAMP}(?:\s*(?:-|–|-->)\s*{_TIMESTAMP})?\s*[\])>]")
_LINE_TIME = re.compile(rf"^[ \t]*{_TIMESTAMP}(?=\s|$)(?:[ \t]*[-–:])?", re.MULTILINE)
_WEBVTT = re.compile(r"\A\ufeff?WEBVTT[^\n]*\n")
_LABEL = re.compile(
    r"^[ \t]*\[?(?P<name>interviewer|interviewee|candidate|applicant|speaker ?[a-z0-9]{0,2}|me|you|"
    r"user|coach|host|q|a|question|answer|recruiter|guest)\]?[ \t]*:[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_INTERVIEWER = frozenset(("interviewer", "coach", "host", "q", "question", "recruiter"))


def set_aside_non_answer(answer: Answer) -> Answer:
    """Return the answer without what is not part of it.

    What remains of a transcript with word times is one contiguous part of its text. Returns the
    answer unchanged if nothing would remain.
    """
    text = answer.text if answer.words else _strip_labels(answer.text)
    begin, end = _find_answer(text, answer.question)
    kept = text[begin:end].strip()
    if not kept or kept == answer.text:
        return answer
    return set_aside_spans(replace(answer, text=text), ((0, begin), (end, len(text))))


def set_aside_spans(answer: Answer, spans: Sequence[Span]) -> Answer:
    """Return the answer without ordered parts of its text, their words and their time.

    The text is empty if nothing else remains.
    """
    if not spans:
        return answer
    parts = (answer.text[begin:end].strip() for begin, end in split_around(answer.text, spans))
    text = " ".join(part for part in parts if any(map(str.isalnum, part)))
    words, stretches = _split_words(answer.text, answer.words, spans)
    return replace(answer, text=text, words=words, set_aside=(*answer.set_aside, *stretches))


def _find_answer(text: str, question: str | None) -> tuple[int, int]:
    """Return the offsets between which the answer lies."""
    sentences = split_sentences(text)
    begin, end = 0, len(text)
    for _ in range(_MAX_ROUNDS):
        rest = [sentence for sentence in sentences if sentence.begin >= begin]
        after = _skip_talk(rest, begin)
        after = _skip_question(text, after, rest, question)
        if after == begin:
            break
        begin = after
    for sentence in reversed(sentences):
        if sentence.begin < begin or not _is_talk(sentence, _TALK_AT_END):
            break
        end = sentence.begin
    if end < len(text) and not text[begin:end].strip():
        return 0, len(text)
    return begin, end


def _skip_talk(sentences: Sequence[Sentence], begin: int) -> int:
    """Return where the talk about the recording ends. Lone fillers belong to the answer."""
    skipped = begin
    for sentence in sentences:
        if not _is_talk(sentence, _TALK_AT_START, needs_more_than_filler=False):
            break
        if _is_talk(sentence, _TALK_AT_START):
            skipped = sentence.end
    return skipped


def _is_talk(
    sentence: Sentence, pattern: re.Pattern[str], *, needs_more_than_filler: bool = True
) -> bool:
    if len(sentence.tokens) > _MAX_TALK_TOKENS:
        return False
    spoken = " ".join(sentence.tokens)
    if not pattern.fullmatch(spoken):
        return False
    return not needs_more_than_filler or not _LEADING_FILLER.fullmatch(spoken)


def _skip_question(
    text: str, begin: int, sentences: Sequence[Sentence], question: str | None
) -> int:
    """Return where the question ends if the text from `begin` on starts with it."""
    asked = TOKEN.findall(normalise(question or ""))
    if len(asked) < MIN_QUESTION_TOKENS:
        return begin
    places = [(match[0], match.end()) for match in TOKEN.finditer(normalise(text), begin)]
    ends = {sentence.end for sentence in sentences}
    spoken = [token for token, _ in places[: 2 * len(asked)]]
    if len(normalise(text)) != len(text):
        return begin
    best: tuple[float, int] | None = None
    for first in range(len(asked) - min(_MIN_TAIL_TOKENS, len(asked)) + 1):
        part = asked[first:]
        limit = _MAX_ECHO_ERROR_RATE if first == 0 else _MAX_TAIL_ERROR_RATE
        for count, errors in enumerate(_edit_distances(part, spoken)):
            if count == 0 or errors > limit * len(part):
                continue
            stop = _sentence_end(text, places[count - 1][1], ends)
            if stop is not None and (best is None or errors / len(part) < best[0]):
                best = (errors / len(part), stop)
        if best is not None:
            return best[1]
    return begin


def _sentence_end(text: str, position: int, ends: set[int]) -> int | None:
    """Return the end of the sentence if only punctuation lies before it. A question that goes on
    as part of a longer sentence is the person's own restatement."""
    stop = position
    while stop < len(text) and not text[stop].isalnum() and stop not in ends:
        stop += 1
    return stop if stop in ends else None


def _edit_distances(wanted: Sequence[str], spoken: Sequence[str]) -> list[int]:
    """Return the edit distance of `wanted` to each prefix of `spoken`."""
    row = list(range(len(spoken) + 1))
    for number, token in enumerate(wanted, 1):
        previous, row = row, [number]
        for index, other in enumerate(spoken, 1):
            row.append(
                min(previous[index] + 1, row[-1] + 1, previous[index - 1] + (token != other))
            )
    return row


def _strip_labels(text: str) -> str:
    """Return a client's transcript without cue times, labels and the interviewer's lines."""
    text = _WEBVTT.sub("", text)
    for pattern in (_CUE, _BRACKETED_TIME, _LINE_TIME):
        text = pattern.sub(" ", text)
    labels = list(_LABEL.finditer(text))
    if not labels:
        return text
    parts = [text[: labels[0].start()]]
    for label, following in zip(labels, [*labels[1:], None], strict=True):
        end = len(text) if following is None else following.start()
        if label["name"].lower() not in _INTERVIEWER:
            parts.append(text[label.end() : end])
    kept = " ".join(part.strip() for part in parts if part.strip())
    return kept or text


def _split_words(
    text: str, words: Sequence[Word], spans: Sequence[Span]
) -> tuple[tuple[Word, ...], list[tuple[float, float]]]:
    """Return the words outside of spans of the text, and the stretches of time within them."""
    kept: list[Word] = []
    stretches: list[tuple[float, float]] = []
    at, is_in_stretch = 0, False
    for word in words:
        found = text.find(word.text, at)
        if found < 0:
            continue
        at = found + len(word.text)
        if not any(begin <= found < end for begin, end in spans):
            kept.append(word)
            is_in_stretch = False
        elif is_in_stretch:
            stretches[-1] = (stretches[-1][0], word.end)
        else:
            # A recording that begins with it has no answer before.
            stretches.append((word.start if kept else 0.0, word.end))
            is_in_stretch = True
    return tuple(kept), stretches
