"""Which questions a story answers, by the relevance model of the local scorer.

It needs the local packages, so the composition root imports it only if they are installed.
"""

from collections.abc import Sequence

from coach_ai.domain import StoryFit
from coach_ai.embeddings import Embeddings
from coach_ai.profile.passages import split_passages
from coach_ai.profile.similarity import Vectors
from coach_ai.scoring.local.encoders import SentenceEncoder
from coach_ai.scoring.local.models import load_models
from coach_ai.scoring.local.relevance_model import encode_themes, relevance_features

MAX_SENTENCES = 20
"""Of a story. The rest is not compared."""


class RelevanceStoryMatcher:
    """A StoryMatcher over the sentence embeddings. Deterministic."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        encoder = SentenceEncoder(embeddings)
        self._model = load_models(encoder.name).relevance
        self._themes = encode_themes(encoder)

    def encode(self, text: str) -> Vectors | None:
        """Return the vectors of a story's sentences, or None if it has no sentence."""
        sentences = _split(text)
        return self._embeddings.encode(sentences) if sentences else None

    def match(
        self,
        stories: Sequence[tuple[str, Vectors]],
        questions: Sequence[str],
        *,
        is_fixed: bool,
    ) -> list[list[StoryFit]]:
        """Return a row per story and a column per question.

        Args:
            stories: The text of each story, and its vectors.
            questions: Texts of questions.
            is_fixed: Whether the questions ship with the program. Their vectors are cached.
        """
        encode = self._embeddings.cached if is_fixed else self._embeddings.encode
        asked = encode(tuple(questions))
        return [
            [self._fit(_split(text), vectors, question) for question in asked]
            for text, vectors in stories
        ]

    def _fit(self, sentences: Sequence[str], vectors: Vectors, question: Vectors) -> StoryFit:
        features = relevance_features(question, vectors, self._themes)
        nearest = int((vectors @ question).argmax())
        return StoryFit(float(self._model.probabilities(features[None])[0]), sentences[nearest])


def _split(text: str) -> list[str]:
    return split_passages(text, max_passages=MAX_SENTENCES)
