"""The local scorer: the rubric, computed from the roles of units. No language model, no network."""

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from coach_ai import delivery
from coach_ai.domain import Answer, DimensionLevel, Feedback, QuestionType, Remark
from coach_ai.embeddings import Embeddings
from coach_ai.scoring.answer_validation import rejection_reason
from coach_ai.scoring.echo import find_echoes
from coach_ai.scoring.local.advice import next_step, story_parts, summarise
from coach_ai.scoring.local.analysis import Analysis
from coach_ai.scoring.local.dimensions import DIMENSIONS, Dimension
from coach_ai.scoring.local.encoders import Encoder, SentenceEncoder, WordEncoder
from coach_ai.scoring.local.english import load_english
from coach_ai.scoring.local.evidence import collect_evidence
from coach_ai.scoring.local.models import load_models
from coach_ai.scoring.local.point_checker import MatchedPointChecker, PointChecker, UncheckedPoints
from coach_ai.scoring.local.reading import read_transcript
from coach_ai.scoring.local.relevance_model import answering, encode_themes, relevance
from coach_ai.scoring.local.thresholds import load_thresholds
from coach_ai.scoring.points import PointMatcher, compute_overall_score
from coach_ai.scoring.quotes import make_remark
from coach_ai.scoring.rubric import Rubric, Scores, load_rubric
from coach_ai.token_usage import TokenUsage
from coach_common.errors import Unavailable

PROVIDER = "local"
MODEL = "unit-roles-4"
_DIGEST_CHARACTERS = 8
_MAX_REMARKS_OF_KIND = 4


class LocalScorer:
    """A Scorer without a language model. Deterministic.

    Without embeddings it compares words, which orders answers less well, and does not check
    expected points. `points` replaces that check.
    """

    def __init__(
        self,
        embedder: Embeddings | None = None,
        *,
        points: PointChecker | None = None,
        rubric: Rubric | None = None,
        dimensions: Sequence[Dimension] = DIMENSIONS,
    ) -> None:
        self._rubric = rubric or load_rubric()
        self._dimensions = dimensions
        self._encoder: Encoder = WordEncoder() if embedder is None else SentenceEncoder(embedder)
        if points is None and embedder is not None:
            points = MatchedPointChecker(PointMatcher(embedder))
        self._points = points or UncheckedPoints()
        self._pack = load_english()
        self._limits = load_thresholds()
        self._models = load_models(self._encoder.name)
        digest = self._limits.digest[:_DIGEST_CHARACTERS] + self._models.digest[:_DIGEST_CHARACTERS]
        self.model = f"{MODEL} {self._encoder.name} {digest}"

    def max_tokens_needed(self, answer: Answer) -> int:
        """Return 0: no language model is used."""
        return 0

    async def score(self, answer: Answer, usage: TokenUsage) -> Feedback:
        """Score in a thread, because scoring takes processor time.

        Raises:
            Unavailable: If the deadline passes.
        """
        try:
            async with asyncio.timeout(self._limits.deadline_seconds):
                return await asyncio.to_thread(self.score_answer, answer)
        except TimeoutError as error:
            raise Unavailable("Scoring took too long. It will be tried again.") from error

    async def score_again(self, answer: Answer, usage: TokenUsage) -> Feedback:
        """Score as `score` does: the same words get the same score."""
        return await self.score(answer, usage)

    def score_answer(self, answer: Answer) -> Feedback:
        """Return the feedback. All scores are None, with the reason, if the answer is rejected."""
        metrics = delivery.measure(answer, answer.accommodations)
        question_type = self.question_type(answer)
        if (reason := rejection_reason(answer)) is not None:
            return self._reject(answer, question_type, metrics, reason)
        analysis = self.analyse(answer, metrics)
        if analysis is None:
            return self._reject(answer, question_type, metrics, self._pack.texts["no_content"])
        if analysis.is_off_topic:
            return self._reject(answer, question_type, metrics, self._pack.texts["off_topic"])
        own = replace(answer, text=analysis.own_text)
        if own.text != answer.text and (reason := rejection_reason(own)) is not None:
            return self._reject(answer, question_type, metrics, reason)
        levels = self._levels(analysis)
        step = next_step(analysis)
        remarks = [
            make_remark(answer, "improvement", _dimension_of(question_type), step.text, step.quote),
            *(one for dimension in self._dimensions for one in dimension.remarks(analysis)),
        ]
        scores = self._scores(levels, question_type)
        overall = scores.overall
        if analysis.technical_score is not None:
            overall = compute_overall_score(analysis.technical_score, scores.communication)
        weights = self._rubric.overall_weights(question_type)
        return Feedback(
            overall_score=overall,
            communication_score=scores.communication,
            technical_score=analysis.technical_score,
            clarity_score=scores.clarity,
            remarks=_select(remarks),
            detailed_feedback=summarise(analysis, step, metrics),
            provider=PROVIDER,
            model=self.model,
            rubric_version=self._rubric.version,
            delivery=dict(metrics),
            main_improvement=step,
            star=story_parts(analysis),
            points=analysis.points,
            dimensions=tuple(
                DimensionLevel(
                    name, None if level is None else round(level, 2), weights.get(name, 0.0)
                )
                for name, level in levels.items()
            ),
            score_spread=self._spread(analysis),
            question_type=question_type,
            seniority=answer.seniority,
        )

    def question_type(self, answer: Answer) -> QuestionType:
        """Return the type of the question: of the bank if it is from there, else by wording."""
        if answer.reference is not None:
            return answer.reference.type
        return self._rubric.classify_question(answer.question)

    def analyse(self, answer: Answer, metrics: dict[str, Any]) -> Analysis | None:
        """Return the analysis of an answer, or None if it has no word."""
        (question,) = self._encoder.encode([answer.question or answer.title])[1]
        reading = read_transcript(
            answer.text,
            question,
            self._encoder,
            self._models,
            self._pack,
            self._limits,
            find_echoes(answer.text, answer.question),
        )
        if reading is None:
            return None
        relevant = is_answer = 1.0
        themes = encode_themes(self._encoder)
        if self._models.answering is not None:
            is_answer = answering(reading, themes, self._models.answering, self._pack)
        if answer.question:
            relevant = relevance(question, reading, themes, self._models.relevance)
        checked = self._points.check(answer)
        return Analysis(
            answer,
            self.question_type(answer),
            reading,
            collect_evidence(reading.roles, reading, self._limits),
            relevant,
            is_answer,
            metrics,
            self._pack,
            self._limits,
            checked.points,
            checked.technical_score,
        )

    async def check(self) -> None:
        """The local scorer is always available."""

    async def close(self) -> None:
        """Do nothing."""

    def _levels(self, analysis: Analysis) -> dict[str, float | None]:
        return {one.name: one.level(analysis) for one in self._dimensions}

    def _scores(self, levels: dict[str, float | None], question_type: QuestionType) -> Scores:
        """Return the scores in steps: a finer scale would show noise."""
        exact = self._rubric.scores(levels, question_type)
        step = self._limits.score_step
        return Scores(
            *(
                None if value is None else step * round(value / step)
                for value in (exact.overall, exact.communication, exact.technical, exact.clarity)
            )
        )

    def _spread(self, analysis: Analysis) -> float | None:
        """Return by how many points the score differs between readings of the answer.

        Each reading is by a model that was trained without a part of the labelled units.
        """
        totals = [
            self._rubric.scores(
                self._levels(analysis.read_as(roles)), analysis.question_type
            ).overall
            for roles in analysis.reading.variants
        ]
        known = [one for one in totals if one is not None]
        if len(known) < 2:
            return None
        return round(2 * statistics.stdev(known), 1)

    def _reject(
        self, answer: Answer, question_type: QuestionType, metrics: dict[str, Any], reason: str
    ) -> Feedback:
        return Feedback(
            overall_score=None,
            communication_score=None,
            technical_score=None,
            clarity_score=None,
            remarks=(),
            detailed_feedback=reason,
            provider=PROVIDER,
            model=self.model,
            rubric_version=self._rubric.version,
            delivery=dict(metrics),
            question_type=question_type,
            seniority=answer.seniority,
        )


def _dimension_of(question_type: QuestionType) -> str:
    """Return the dimension that the next step is filed under."""
    is_story = question_type is QuestionType.STORY
    return "structure" if is_story else "specificity"


def _select(remarks: Sequence[Remark]) -> tuple[Remark, ...]:
    """Return at most four strengths and four improvements, and one remark per quote and kind."""
    kept: list[Remark] = []
    for remark in remarks:
        of_kind = [one for one in kept if one.kind == remark.kind]
        if len(of_kind) < _MAX_REMARKS_OF_KIND and remark.quote not in {
            one.quote for one in of_kind
        }:
            kept.append(remark)
    return tuple(kept)
