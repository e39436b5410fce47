"""The local scorer: the rubric, computed from language signals. No language model, no network.

It cannot check whether a technical statement is right: the technical score is always None.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from coach_ai import delivery
from coach_ai.domain import Answer, Feedback, Remark
from coach_ai.embeddings import Embeddings
from coach_ai.scoring.local.levels import score_levels
from coach_ai.scoring.local.parsed_answer import parse
from coach_ai.scoring.local.reasons import find_reasons
from coach_ai.scoring.local.rejection import find_rejection
from coach_ai.scoring.local.remarks import (
    Analysis,
    improvements,
    main_improvement,
    render_summary,
    strengths,
)
from coach_ai.scoring.local.story_parts import extract_story
from coach_ai.scoring.quotes import make_remark
from coach_ai.scoring.rubric import Rubric, Scores, load_rubric
from coach_ai.token_usage import TokenUsage

PROVIDER = "local"
MODEL = "rubric-signals-3"


class LocalScorer:
    """A Scorer without a language model. Deterministic.

    Without embeddings it detects fewer answers to a different question.
    """

    def __init__(self, embedder: Embeddings | None = None) -> None:
        self._rubric: Rubric = load_rubric()
        self._embedder = embedder
        self.model = MODEL if embedder is None else f"{MODEL} {embedder.MODEL}"

    def max_tokens_needed(self, answer: Answer) -> int:
        """Return 0: no language model is used."""
        return 0

    async def score(self, answer: Answer, usage: TokenUsage) -> Feedback:
        """Score in a thread, because scoring takes processor time."""
        return await asyncio.to_thread(self.score_answer, answer)

    def score_answer(self, answer: Answer) -> Feedback:
        """Return the feedback. All scores are None, with the reason, if the answer is rejected."""
        metrics = delivery.measure(answer)
        question_type = self._rubric.classify_question(answer.question)
        parsed = parse(answer)
        story = extract_story(parsed.sentences)
        rejection = find_rejection(answer, question_type, parsed, story, self._embedder)
        if rejection is not None:
            remarks = (
                []
                if rejection.quote is None
                else [
                    make_remark(
                        answer, "improvement", "relevance", rejection.reason, rejection.quote
                    )
                ]
            )
            no_scores = Scores(None, None, None, None)
            return self._feedback(no_scores, remarks, rejection.reason, metrics)
        reasons = find_reasons(parsed, answer.question or "")
        levels = score_levels(answer, question_type, parsed, story, reasons, metrics)
        analysis = Analysis(answer, question_type, parsed, story, reasons, levels)
        remarks = [*strengths(analysis), *improvements(analysis)]
        main = main_improvement(analysis, remarks)
        feedback = self._feedback(
            self._rubric.scores(levels, question_type),
            remarks,
            render_summary(analysis, main, metrics),
            metrics,
        )
        star = {}
        if question_type == "behavioural":
            star = {
                part: sentences[0].text if sentences else None
                for part, sentences in story.parts.items()
            }
        return replace(feedback, main_improvement=main, star=star)

    async def check(self) -> None:
        """The local scorer is always available."""

    async def close(self) -> None:
        """Do nothing."""

    def _feedback(
        self, scores: Scores, remarks: Sequence[Remark], summary: str, metrics: Mapping[str, Any]
    ) -> Feedback:
        return Feedback(
            overall_score=scores.overall,
            communication_score=scores.communication,
            technical_score=scores.technical,
            clarity_score=scores.clarity,
            remarks=tuple(remarks),
            detailed_feedback=summary,
            provider=PROVIDER,
            model=self.model,
            rubric_version=self._rubric.version,
            delivery=dict(metrics),
        )
