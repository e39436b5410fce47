"""Verifies the words of a language model before a candidate reads them as the interviewer's turn.

Pure functions. A turn that fails a check is worded by rule, so the checks are strict.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache

from coach_ai.chat.sanitizer import sanitize
from coach_ai.domain import PointStatus, Question
from coach_ai.interview.flow import Step
from coach_ai.interview.model import Gap
from coach_ai.interview.rule_interviewer import TurnToWord
from coach_ai.interview.wording import load_phrases
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.scoring.answer_validation import is_prompt_injection
from coach_ai.scoring.language import is_english
from coach_ai.scoring.quotes import find_quote
from coach_ai.text import split_sentences, tokenize

MAX_FRAME_WORDS = 45
"""Words besides the quotes and the planned question."""
MIN_QUOTE_WORDS = 4
"""Shortest part of the given quote that counts as a quotation, unless the quote is shorter."""

_MAX_NEW_SHARE = 0.7
"""Largest share of content words in a reaction that are not the candidate's."""
_MAX_SIMILARITY = 0.8
"""Jaccard similarity of words from which two questions count as the same."""
_MIN_STEM_CHARACTERS = 3
_COMMON_QUESTIONS = 10
"""A stem that occurs in the points of so many questions of the bank is common."""
_LAST_LATIN_LETTER = "\u024f"

_QUOTED = re.compile(r"[“\"]([^“”\"]*)[”\"]")
_QUOTE_MARKS = re.compile(r"[“”\"]")
_EMPHASIS = re.compile(r"\*+|`+|__+|^#+ *")
_SPEAKER = re.compile(r"^(?:the )?interviewer\s*:\s*", re.IGNORECASE)
_OUT_OF_ROLE = re.compile(
    r"\b(?:ai|chatbot|assistant|language model|prompts?|instructions?|jailbreak|developer mode"
    r"|scor(?:e|es|ed|ing)|rated|i rate|graded?|grading|full marks|rubric|expected points?|hint"
    r"|(?:that|this|it|which)(?:'s| is| was) (?:not )?(?:correct|right|wrong)|perfect(?:ly)?"
    r"|incorrect(?:ly)?|mistaken|hired?|you (?:should|forgot|missed|omitted|left out)"
    r"|you (?:did not|didn't) (?:mention|say|name)|the (?:right |correct )?answer is)\b",
    re.IGNORECASE,
)
_REQUEST = re.compile(
    r"^\W*(?:please )?(?:tell|describe|explain|walk|name|give|list|(?:can|could|would) you)\b",
    re.IGNORECASE,
)
_SUFFIXES = ("ings", "ing", "edly", "ed", "ies", "es", "s", "ly", "e")
_STOP_WORD_LIST = """
    a an the and or but of to in on at by for with from as is are was were be been being am it its
    that this these those i i'm i've you your yours yourself he she we they my our their so then if
    than not no do does did done doing have has had can could will would should which who what when
    where how why there here one some any all more most very just only also into out up about
    because me us him her them let let's please thank thanks good okay ok yes well now said say says
    mentioned describe described told tell sounds sound see understand great nice interesting noted
    right next question first that's it's quite like really both over after before
    """
_STOP_WORDS = frozenset(_STOP_WORD_LIST.split())


class Rejection(StrEnum):
    """Why the words of a model are not used."""

    EMPTY = "empty"
    TOO_LONG = "too_long"
    QUOTE_MISSING = "quote_missing"
    QUOTE_INVENTED = "quote_invented"
    QUESTION_MISSING = "question_missing"
    QUESTION_OFF_TOPIC = "question_off_topic"
    QUESTION_REPEATED = "question_repeated"
    SEVERAL_QUESTIONS = "several_questions"
    POINT_REVEALED = "point_revealed"
    OUT_OF_ROLE = "out_of_role"
    NOT_ABOUT_ANSWER = "not_about_answer"
    LANGUAGE = "language"


class WordingRejected(Exception):
    """The words of a model are not used. `reason` says why."""

    def __init__(self, reason: Rejection) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class VerifiedWording:
    """A turn that passed all checks. `gap` quotes the passage that the words quote."""

    text: str
    gap: Gap | None


@dataclass(frozen=True, slots=True)
class _Parts:
    """A turn in parts.

    `frame` is the text without quotes and without the planned question, and `reaction` is the part
    of it before the question.
    """

    text: str
    frame: str
    reaction: str
    has_quote: bool
    gap: Gap | None = None


def verify_wording(turn: TurnToWord, text: str) -> VerifiedWording:
    """Return the words as plain text if they are acceptable.

    - A follow-up quotes the given passage or a part of it, and nothing that was not said. It ends
      with one question about the gap that no turn has asked before.
    - Another turn ends with the planned question, and asks nothing else.
    - The rest is short, is about the answer, stays in the role and is in English.
    - It has no content word of an expected point that the candidate did not say.

    Loading the language model takes up to a second. Call it in a thread.

    Raises:
        WordingRejected: If a check fails.
    """
    plain = _SPEAKER.sub("", " ".join(_EMPHASIS.sub("", sanitize(text)).split()))
    if not plain:
        raise WordingRejected(Rejection.EMPTY)
    is_follow_up = turn.decision.step is Step.FOLLOW_UP
    parts = _split_follow_up(turn, plain) if is_follow_up else _split_next(turn, plain)
    _check_role(turn, parts)
    _check_subject(turn, parts)
    _check_points(turn, parts)
    if not is_english(parts.frame) or _has_foreign_letters(parts.frame, turn.answer):
        raise WordingRejected(Rejection.LANGUAGE)
    return VerifiedWording(parts.text, parts.gap)


def _split_next(turn: TurnToWord, text: str) -> _Parts:
    """Return the parts of a turn that ends with the planned question, in its exact words."""
    question = turn.asked
    found = find_quote(text, question)
    at = -1 if found is None else text.find(found)
    if found is None or text[at + len(found) :].strip(' .!?”"'):
        raise WordingRejected(Rejection.QUESTION_MISSING)
    lead = text[:at].rstrip(' “"')
    passages = _list_quotes(turn, lead)
    reaction = " ".join(_QUOTED.sub(" ", lead).split())
    if "?" in reaction or any(_REQUEST.search(one.text) for one in split_sentences(reaction)):
        raise WordingRejected(Rejection.SEVERAL_QUESTIONS)
    return _Parts(f"{lead} {question}".strip(), reaction, reaction, bool(passages))


def _split_follow_up(turn: TurnToWord, text: str) -> _Parts:
    """Return the parts of a follow-up, with its quotes in the words of the answer."""
    gap = turn.decision.gap
    passages = _list_quotes(turn, text)
    if gap is None or (passage := _find_passage(gap.quote, passages.values())) is None:
        raise WordingRejected(Rejection.QUOTE_MISSING)
    for quoted, verbatim in passages.items():
        text = text.replace(quoted, verbatim)
    frame = " ".join(_QUOTED.sub(" ", text).split())
    if not frame.endswith("?"):
        raise WordingRejected(Rejection.QUESTION_MISSING)
    *reaction, question = [one.text for one in split_sentences(frame)]
    if frame.count("?") > 1:
        raise WordingRejected(Rejection.SEVERAL_QUESTIONS)
    topics = load_phrases().topics[gap.subject]
    if not any(word.startswith(topics) for word in tokenize(question)):
        raise WordingRejected(Rejection.QUESTION_OFF_TOPIC)
    if any(_are_similar(question, asked) for asked in _list_asked(turn)):
        raise WordingRejected(Rejection.QUESTION_REPEATED)
    return _Parts(text, frame, " ".join(reaction), True, replace(gap, quote=passage))


def _list_quotes(turn: TurnToWord, text: str) -> dict[str, str]:
    """Return the passage of the answer for each quoted text. Raises if one was not said."""
    if len(_QUOTE_MARKS.findall(text)) % 2:
        raise WordingRejected(Rejection.QUOTE_INVENTED)
    passages: dict[str, str] = {}
    for quoted in _QUOTED.findall(text):
        passage = find_quote(turn.answer, quoted)
        if passage is None or is_prompt_injection(split_sentences(passage)[0]):
            raise WordingRejected(Rejection.QUOTE_INVENTED)
        # The passage includes the full stop after it, which may not be quoted.
        passages[quoted] = passage if quoted[-1] in ".!?" else passage.rstrip(".!?")
    return passages


def _find_passage(given: str, passages: Iterable[str]) -> str | None:
    """Return the passage that quotes enough of the given quote, or None."""
    needed = min(MIN_QUOTE_WORDS, len(tokenize(given)))
    for passage in passages:
        is_part = find_quote(given, passage) is not None and len(tokenize(passage)) >= needed
        if is_part or find_quote(passage, given) is not None:
            return passage
    return None


def _check_role(turn: TurnToWord, parts: _Parts) -> None:
    if len(tokenize(parts.frame)) > MAX_FRAME_WORDS:
        raise WordingRejected(Rejection.TOO_LONG)
    known = frozenset(tokenize(turn.answer))
    invented = [
        word for word in tokenize(parts.frame) if any(map(str.isdigit, word)) and word not in known
    ]
    is_instruction = any(map(is_prompt_injection, split_sentences(parts.frame)))
    if invented or is_instruction or _OUT_OF_ROLE.search(parts.frame):
        raise WordingRejected(Rejection.OUT_OF_ROLE)


def _check_subject(turn: TurnToWord, parts: _Parts) -> None:
    """Check that the reaction is about the answer. A quote alone is enough."""
    stems = _list_stems(parts.reaction)
    known = frozenset(_list_stems(f"{turn.answer} {turn.interview.current.question.text}"))
    new = [stem for stem in stems if stem not in known]
    if len(new) > _MAX_NEW_SHARE * len(stems) or not (stems or parts.has_quote):
        raise WordingRejected(Rejection.NOT_ABOUT_ANSWER)


def _check_points(turn: TurnToWord, parts: _Parts) -> None:
    """Check that no expected point of this and of the next question is revealed.

    A rare stem reveals a point alone, and common stems reveal it in pairs.
    """
    decision, current = turn.decision, turn.interview.current.question
    texts = [turn.answer, turn.interview.setup.role, current.text, turn.asked]
    known = frozenset(_list_stems(" ".join(texts)))
    new = frozenset(_list_stems(parts.frame)) - known
    following = decision.question.question if decision.question is not None else current
    for question in {current.id: current, following.id: following}.values():
        covered = _list_covered(turn) if question.id == current.id else frozenset()
        for point_id, stems in _list_point_stems(question):
            revealed = new & stems
            if point_id not in covered and (len(revealed) > 1 or revealed - _list_common_stems()):
                raise WordingRejected(Rejection.POINT_REVEALED)


def _list_covered(turn: TurnToWord) -> frozenset[str]:
    return frozenset(point.id for point in turn.coverage if point.status is PointStatus.COVERED)


def _list_point_stems(question: Question) -> Iterator[tuple[str, frozenset[str]]]:
    for point in question.points:
        yield point.id, frozenset(_list_stems(" ".join((point.text, *point.accepted))))


@cache
def _list_common_stems() -> frozenset[str]:
    """Return the stems that the points of many questions share."""
    counts: Counter[str] = Counter()
    for question in load_question_bank().values():
        counts.update({stem for _, stems in _list_point_stems(question) for stem in stems})
    return frozenset(stem for stem, count in counts.items() if count >= _COMMON_QUESTIONS)


def _list_asked(turn: TurnToWord) -> Iterator[str]:
    """Yield the questions that the candidate has read, and those of the plan."""
    for planned in turn.interview.plan.questions:
        yield planned.question.text
    for stored in turn.turns:
        for sentence in split_sentences(_QUOTED.sub(" ", stored.response)):
            if sentence.text.endswith("?"):
                yield sentence.text


def _are_similar(one: str, other: str) -> bool:
    first, second = frozenset(tokenize(one)), frozenset(tokenize(other))
    return len(first & second) >= _MAX_SIMILARITY * len(first | second)


def _has_foreign_letters(text: str, answer: str) -> bool:
    return any(one.isalpha() and one > _LAST_LATIN_LETTER and one not in answer for one in text)


def _list_stems(text: str) -> list[str]:
    """Return the stems of the content words of a text."""
    words = (word.replace("'s", "") for word in tokenize(text))
    return [
        _stem(word)
        for word in words
        if word not in _STOP_WORDS and len(word) >= _MIN_STEM_CHARACTERS
    ]


def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _MIN_STEM_CHARACTERS:
            return word[: -len(suffix)]
    return word
