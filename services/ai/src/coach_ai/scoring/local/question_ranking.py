"""Comparison of an answer with the reference questions by sentence embeddings."""

from coach_ai.embeddings import Embeddings, Vectors
from coach_ai.questions.reference import load_reference_questions
from coach_ai.scoring.local.parsed_answer import ParsedAnswer

_MAX_SENTENCES = 40
"""Sentences from the beginning that represent the answer: about five minutes of speech."""


def share_of_closer_questions(question: str, parsed: ParsedAnswer, embedder: Embeddings) -> float:
    """Return the share of the reference questions that are closer to an answer than its own.

    Uses a rank rather than a similarity threshold, because similarities are not comparable between
    questions. The asked question is represented by its own vector or by the closest reference
    question (averaged with its sample answers), the closer of both to the answer.
    """
    sentences = [one.sentence.text for one in parsed.sentences[:_MAX_SENTENCES]]
    answer_vector = embedder.encode(sentences).mean(axis=0)
    bank = question_bank(embedder)
    (question_vector,) = embedder.encode([question])
    closest = int((bank[:, 0] @ question_vector).argmax())
    similarities = bank.mean(axis=1) @ answer_vector
    own_similarity = max(question_vector @ answer_vector, similarities[closest])
    return float((similarities > own_similarity).sum() / (len(bank) - 1))


def question_bank(embedder: Embeddings) -> Vectors:
    """Return the vectors of each reference question and its two sample answers. Cached.

    Shape: (questions, 3, dimensions).
    """
    questions = load_reference_questions()
    texts = tuple(text for one in questions for text in (one.question, *one.answers))
    return embedder.cached(texts).reshape(len(questions), 3, -1)
