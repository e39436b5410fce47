"""The local judge: the rubric from signals that can be pointed at. No language model, no network.

It says plainly what it cannot judge: it does not know whether a technical claim is right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from coach_ai import delivery
from coach_ai.adapters.embeddings import Embeddings
from coach_ai.adapters.local_judge import reasons, star
from coach_ai.adapters.local_judge.levels import levels_of
from coach_ai.adapters.local_judge.reading import read
from coach_ai.adapters.local_judge.refusal import why_not
from coach_ai.adapters.local_judge.remarks import (
    Seen,
    improvements,
    in_words,
    main_thing,
    strengths,
)
from coach_ai.domain import Answer, Claim, Judgement
from coach_ai.evidence import claim
from coach_ai.rubric import Rubric, Scores, load

PROVIDER = "local"
MODEL = "rubric-signals-3"


class LocalJudge:
    """Judges without a language model. Deterministic.

    Without embeddings it tells fewer of the answers to another question.
    """

    def __init__(self, meaning: Embeddings | None = None) -> None:
        self._rubric: Rubric = load()
        self._meaning = meaning
        self.model = MODEL if meaning is None else f"{MODEL} {meaning.MODEL}"

    def judge(self, answer: Answer) -> Judgement:
        """Judge by signals; without enough to go on, say so and give no score."""
        measured = delivery.measure(answer)
        kind = self._rubric.kind_of(answer.question)
        reading = read(answer)
        story = star.find(reading.said)
        reason, quote = why_not(answer, kind, reading, story, self._meaning)
        if reason is not None:
            shown = (
                [] if quote is None else [claim(answer, "improvement", "relevance", reason, quote)]
            )
            return self._judgement(Scores(None, None, None, None), shown, reason, measured)
        given = reasons.find(reading, answer.question or "")
        levels = levels_of(answer, kind, reading, story, given, measured)
        seen = Seen(answer, kind, reading, story, given, levels)
        claims = (*strengths(seen), *improvements(seen))
        main = main_thing(seen, claims)
        judged = self._judgement(
            self._rubric.scores(levels, kind), claims, in_words(seen, main, measured), measured
        )
        told = {part: found[0].text if found else None for part, found in story.parts.items()}
        return replace(judged, main_improvement=main, star=told if kind == "behavioural" else {})

    def _judgement(
        self, scores: Scores, claims: Sequence[Claim], words: str, measured: Mapping[str, Any]
    ) -> Judgement:
        return Judgement(
            overall_score=scores.overall,
            communication_score=scores.communication,
            technical_score=scores.technical,
            clarity_score=scores.clarity,
            claims=tuple(claims),
            detailed_feedback=words,
            provider=PROVIDER,
            model=self.model,
            rubric_version=self._rubric.version,
            delivery=dict(measured),
        )
