"""Stories find the questions that they answer, for labelled stories."""

from pathlib import Path
from typing import Any

import yaml

from coach_ai.domain import QuestionType
from coach_ai.embeddings import Embeddings
from coach_ai.profile.story_matching import MAX_SENTENCES, RelevanceStoryMatcher
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.use_cases.stories import MIN_RELEVANCE

LABELLED = Path(__file__).parents[2] / "graded" / "story_questions.yaml"


def test_first_suggestion_is_right_for_most_stories(embeddings: Embeddings) -> None:
    stories: list[dict[str, Any]] = yaml.safe_load(LABELLED.read_text("utf-8"))
    asked = [one for one in load_question_bank().values() if one.type is QuestionType.STORY]
    matcher = RelevanceStoryMatcher(embeddings)
    encoded = [(one["text"], matcher.encode(one["text"])) for one in stories]
    rows = matcher.match(
        [(text, vectors) for text, vectors in encoded if vectors is not None],
        [one.text for one in asked],
        is_fixed=True,
    )
    right_first = suggested = right = 0
    for story, row in zip(stories, rows, strict=True):
        ranked = sorted(zip(row, asked, strict=True), key=lambda one: -one[0].relevance)
        found = [question.id for fit, question in ranked if fit.relevance >= MIN_RELEVANCE]
        right_first += ranked[0][1].id in story["answers"]
        suggested += len(found)
        right += len(set(found) & set(story["answers"]))

    assert (len(stories), len(asked)) == (10, 38)
    assert right_first >= 8
    assert right / suggested >= 0.5


def test_story_without_sentences_has_no_vectors(embeddings: Embeddings) -> None:
    matcher = RelevanceStoryMatcher(embeddings)

    assert matcher.encode("No.") is None
    vectors = matcher.encode("I led a team. " * 100)
    assert vectors is not None and len(vectors) == MAX_SENTENCES
