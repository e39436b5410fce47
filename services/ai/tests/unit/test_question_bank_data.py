"""Checks on the data of the question bank and of the spoken answers to its technical questions.

The models below are independent of the code that loads the bank.
"""

import re
from collections import Counter
from difflib import SequenceMatcher
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal, Self

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

import coach_ai

BANK = Path(coach_ai.__file__).parent / "questions" / "bank"
ANSWERS = Path(__file__).parents[1] / "graded" / "technical_tuning.yaml"
MIN_QUESTIONS_BY_TYPE = {"behavioral": 35, "general": 15, "system_design": 15, "technical": 70}
MIN_TECHNICAL_FIELDS = 10
MIN_QUESTIONS_PER_FIELD = 2
MAX_WORDS_PER_SENTENCE = 25
MAX_SIMILARITY = 0.85
# A gesture at a topic is too short to match by meaning; a long sentence holds several claims.
ACCEPTED_WORDS = range(5, 21)
WRONG_WORDS = range(5, 26)
ANSWER_WORDS = range(60, 151)
JARGON = re.compile(r"\b(away|bury|door|nobody|whoever|told|said|for ever)\b", re.IGNORECASE)

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=8, max_length=300)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Point(_Model):
    id: Slug
    text: Text
    importance: Literal["must", "bonus"]
    accepted: list[Text] = Field(min_length=2, max_length=5)
    contradictions: list[Text] = Field(default=[], alias="not", max_length=3)


class Misconception(_Model):
    id: Slug
    text: Text
    wordings: list[Text] = Field(min_length=2, max_length=3)


class Question(_Model):
    id: Slug
    text: Text
    type: Literal["behavioral", "general", "system_design", "technical"]
    subtype: Literal["motive", "about_you"] | None = None
    field: Slug | None = None
    seniority: list[Literal["junior", "mid", "senior"]] = Field(min_length=1)
    tags: list[Slug] = Field(min_length=1)
    looks_for: list[Text] = Field(default=[], max_length=4)
    points: list[Point] = Field(default=[], max_length=8)
    misconceptions: list[Misconception] = []

    @property
    def is_knowledge(self) -> bool:
        return self.type in ("technical", "system_design")

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if self.is_knowledge:
            musts = sum(point.importance == "must" for point in self.points)
            if self.field is None or len(self.points) < 4 or musts < 2:
                raise ValueError("a field, 4 points and 2 musts are required")
            if len(self.misconceptions) < 2 or self.looks_for:
                raise ValueError("2 misconceptions and no looks_for are required")
        elif self.points or self.misconceptions or self.field:
            raise ValueError("only technical and system design questions have points")
        elif (self.type == "general") != (self.subtype is not None):
            raise ValueError("general questions, and only they, have a subtype")
        elif len(self.looks_for) < 2:
            raise ValueError("looks_for needs 2 to 4 phrases")
        ids = [point.id for point in self.points] + [one.id for one in self.misconceptions]
        if len(set(ids)) != len(ids):
            raise ValueError("ids of points and misconceptions repeat")
        return self


class SpokenAnswer(_Model):
    text: str
    covers: list[Slug] = []
    partly: list[Slug] = []
    contradicts: list[Slug] = []
    misconceptions: list[Slug] = []


class AnswersByKind(_Model):
    right: SpokenAnswer
    partly: SpokenAnswer
    wrong: SpokenAnswer
    nonsense: SpokenAnswer

    def all(self) -> tuple[SpokenAnswer, ...]:
        return (self.right, self.partly, self.wrong, self.nonsense)


class AnsweredQuestion(_Model):
    question: Slug
    answers: AnswersByKind


@cache
def _files() -> dict[str, tuple[Question, ...]]:
    """Return the questions of every file of the bank, by the stem of its name."""
    return {
        path.stem: tuple(
            Question.model_validate(one) for one in yaml.safe_load(path.read_text("utf-8"))
        )
        for path in sorted(BANK.glob("*.yaml"))
    }


def _questions() -> list[Question]:
    return [question for questions in _files().values() for question in questions]


def _plain(text: str) -> str:
    """Return the lower-case words of `text` without punctuation."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _count_words(text: str) -> int:
    return len(text.split())


def _written(question: Question) -> list[str]:
    """Return the sentences that a user reads."""
    return [
        question.text,
        *question.looks_for,
        *(point.text for point in question.points),
        *(one.text for one in question.misconceptions),
    ]


def _spoken_right(question: Question) -> list[str]:
    return [text for point in question.points for text in point.accepted]


def _spoken_wrong(question: Question) -> list[str]:
    return [text for point in question.points for text in point.contradictions] + [
        text for one in question.misconceptions for text in one.wordings
    ]


@pytest.mark.parametrize("path", sorted(BANK.glob("*.yaml")), ids=lambda path: path.stem)
def test_file_follows_schema(path: Path) -> None:
    questions = [Question.model_validate(one) for one in yaml.safe_load(path.read_text("utf-8"))]
    assert questions


def test_bank_has_enough_questions_of_every_type() -> None:
    counts: Counter[str] = Counter(question.type for question in _questions())
    assert sum(counts.values()) >= 130
    for kind, minimum in MIN_QUESTIONS_BY_TYPE.items():
        assert counts[kind] >= minimum, kind


def test_technical_questions_cover_enough_fields() -> None:
    counts = Counter(one.field for one in _questions() if one.type == "technical")
    assert len(counts) >= MIN_TECHNICAL_FIELDS
    assert min(counts.values()) >= MIN_QUESTIONS_PER_FIELD


def test_file_name_states_type_and_field() -> None:
    for stem, questions in _files().items():
        for question in questions:
            expected = question.type.replace("_", "-")
            if question.type == "technical":
                expected = f"technical-{question.field}"
            assert stem == expected, question.id


def test_system_design_fields_are_technical_fields() -> None:
    technical = {one.field for one in _questions() if one.type == "technical"}
    assert {one.field for one in _questions() if one.type == "system_design"} <= technical


def test_every_seniority_has_technical_questions() -> None:
    counts = Counter(
        level for one in _questions() if one.type == "technical" for level in one.seniority
    )
    assert min(counts[level] for level in ("junior", "mid", "senior")) >= 20


def test_ids_are_unique() -> None:
    repeated = [key for key, n in Counter(one.id for one in _questions()).items() if n > 1]
    assert repeated == []


def test_question_texts_differ_by_more_than_a_trivial_edit() -> None:
    texts = [_plain(question.text) for question in _questions()]
    matcher = SequenceMatcher(autojunk=False)
    near = []
    for first, second in combinations(texts, 2):
        matcher.set_seqs(first, second)
        if (
            matcher.real_quick_ratio() > MAX_SIMILARITY
            and matcher.quick_ratio() > MAX_SIMILARITY
            and matcher.ratio() > MAX_SIMILARITY
        ):
            near.append((first, second))
    assert near == []


def test_wordings_within_a_question_are_unique() -> None:
    for question in _questions():
        texts = [
            _plain(text)
            for text in (
                *_written(question),
                *_spoken_right(question),
                *_spoken_wrong(question),
            )
        ]
        assert [text for text, n in Counter(texts).items() if n > 1] == [], question.id


def test_accepted_wordings_are_whole_spoken_phrases() -> None:
    bad = [
        (question.id, text)
        for question in _questions()
        for text in _spoken_right(question)
        if _count_words(text) not in ACCEPTED_WORDS
    ]
    assert bad == []


def test_wrong_wordings_are_whole_spoken_phrases() -> None:
    bad = [
        (question.id, text)
        for question in _questions()
        for text in _spoken_wrong(question)
        if _count_words(text) not in WRONG_WORDS
    ]
    assert bad == []


def test_points_and_misconceptions_are_short_sentences() -> None:
    for question in _questions():
        for text in [
            *(point.text for point in question.points),
            *(one.text for one in question.misconceptions),
        ]:
            assert text[-1] == ".", text
            assert max(map(_count_words, re.split(r"[.;] ", text))) <= MAX_WORDS_PER_SENTENCE, text


def test_written_texts_avoid_unclear_words() -> None:
    bad = [text for one in _questions() for text in _written(one) if JARGON.search(text)]
    assert bad == []


def test_files_are_ascii_english() -> None:
    for path in BANK.glob("*.yaml"):
        assert path.read_text("utf-8").isascii(), path.name


@cache
def _answered() -> tuple[tuple[Question, AnswersByKind], ...]:
    """Return every technical question of the tuning set with its four answers."""
    by_id = {question.id: question for question in _questions()}
    entries = [
        AnsweredQuestion.model_validate(one) for one in yaml.safe_load(ANSWERS.read_text("utf-8"))
    ]
    return tuple((by_id[entry.question], entry.answers) for entry in entries)


def test_answers_exist_for_twenty_different_technical_questions() -> None:
    questions = [question for question, _ in _answered()]
    assert len({question.id for question in questions}) == len(questions) == 20
    assert {question.type for question in questions} == {"technical"}


def test_answer_labels_name_existing_points_once() -> None:
    for question, answers in _answered():
        points = {point.id for point in question.points}
        misconceptions = {one.id for one in question.misconceptions}
        for answer in answers.all():
            labels = [*answer.covers, *answer.partly, *answer.contradicts]
            assert len(set(labels)) == len(labels), question.id
            assert set(labels) <= points, question.id
            assert set(answer.misconceptions) <= misconceptions, question.id


def test_answer_kinds_agree_with_their_labels() -> None:
    for question, answers in _answered():
        musts = {point.id for point in question.points if point.importance == "must"}
        right, partly, wrong, nonsense = answers.all()
        assert musts <= set(right.covers), question.id
        assert not right.contradicts and not right.misconceptions, question.id
        assert partly.covers and not musts <= set(partly.covers), question.id
        assert not partly.contradicts and not partly.misconceptions, question.id
        assert wrong.misconceptions, question.id
        assert not (nonsense.covers or nonsense.partly or nonsense.misconceptions), question.id


def test_answers_have_the_length_of_a_spoken_answer() -> None:
    for question, answers in _answered():
        for answer in answers.all():
            assert _count_words(answer.text) in ANSWER_WORDS, (question.id, answer.text)


def test_answers_do_not_repeat_wordings_of_the_bank() -> None:
    for question, answers in _answered():
        wordings = [_plain(text) for text in _spoken_right(question) + _spoken_wrong(question)]
        for answer in answers.all():
            text = _plain(answer.text)
            assert [wording for wording in wordings if wording in text] == [], question.id
