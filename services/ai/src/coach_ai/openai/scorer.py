"""Scoring by OpenAI's API: a strict response schema, and no remark without a verified quote."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import openai
from openai.types.chat import ChatCompletionMessageParam
from prometheus_client import Histogram
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coach_ai import delivery
from coach_ai.chat.sanitizer import sanitize
from coach_ai.domain import (
    Answer,
    CannotScore,
    Feedback,
    MainImprovement,
    Remark,
    estimate_tokens,
)
from coach_ai.openai import prompts
from coach_ai.openai.client import (
    PROVIDER,
    check_key,
    estimate_message_tokens,
    map_openai_errors,
    open_client,
    read_usage,
)
from coach_ai.scoring.answer_validation import rejection_reason, strip_injections
from coach_ai.scoring.quotes import find_quote, make_remark
from coach_ai.scoring.rubric import Scores, load_rubric
from coach_ai.token_usage import TokenUsage
from coach_common import logs
from coach_common.errors import Unavailable

log = logs.get_logger(__name__)

REQUEST_SECONDS = Histogram(
    "coach_ai_score_request_seconds",
    "Duration of one scoring request to OpenAI.",
    buckets=(0.5, 1, 2, 5, 10, 20, 40, 80, 120),
)

_MAX_ATTEMPTS = 3
_MAX_TOKENS = 4000
_MAX_REMARKS = 6
_MAX_REMARK_CHARACTERS = 400
_MAX_SUMMARY_CHARACTERS = 2000

_INJECTION_REMOVED = "Instructions addressed to the evaluator were ignored."
_NO_VERIFIED_REMARK = "No score: none of the scorer's remarks quotes words from your answer."
_DECLINED = "The AI provider declined to score this answer."

Level = Annotated[int, Field(ge=1, le=5, strict=True)]


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class _LevelsOutput(_StrictModel):
    relevance: Level | None
    structure: Level | None
    specificity: Level | None
    reasoning: Level | None
    clarity: Level | None
    technical: Level | None


class _RemarkOutput(_StrictModel):
    kind: Literal["strength", "improvement"]
    dimension: Literal["relevance", "structure", "specificity", "reasoning", "clarity", "technical"]
    text: str
    quote: str


class _MainImprovementOutput(_StrictModel):
    text: str
    quote: str
    drill: str


class _StarOutput(_StrictModel):
    """The parts of a story: each a quote, or null if it is missing."""

    situation: str | None
    task: str | None
    action: str | None
    result: str | None


class _ScoringOutput(_StrictModel):
    """The response that the model must return."""

    cannot_judge: str | None
    levels: _LevelsOutput
    claims: list[_RemarkOutput]
    main_improvement: _MainImprovementOutput | None
    star: _StarOutput | None
    summary: str


class OpenAIScorer:
    """A Scorer over OpenAI's API, or a compatible server."""

    def __init__(self, api_key: str, base_url: str | None, model: str, *, samples: int = 1) -> None:
        self._api_key = api_key
        self._client = open_client(api_key, base_url)
        self._model = model
        self._rubric = load_rubric()
        self._samples = samples
        self._temperature: float | openai.Omit = 0.0

    def max_tokens_needed(self, answer: Answer) -> int:
        """Return the most tokens that all samples can use, with one attempt each."""
        schema = estimate_tokens(json.dumps(_ScoringOutput.model_json_schema()))
        request = estimate_message_tokens(self._build_messages(answer))
        return self._samples * (request + schema + _MAX_TOKENS)

    async def score(self, answer: Answer, usage: TokenUsage) -> Feedback:
        """Score the answer `samples` times and return the median scoring.

        Answers that cannot be scored are rejected without a request. Sentences that instruct the
        evaluator are not sent. Removing them can lower a score and never raise it.
        """
        cleaned = replace(answer, text=strip_injections(answer.text))
        if (reason := rejection_reason(cleaned)) is not None:
            return self._feedback(answer, Scores(None, None, None, None), (), reason)
        # One after another: if the provider is unavailable, the remaining requests are not sent.
        median = _median_scoring(
            [await self._score_once(answer, cleaned, usage) for _ in range(self._samples)]
        )
        if cleaned.text == answer.text:
            return median
        return replace(median, detailed_feedback=f"{median.detailed_feedback} {_INJECTION_REMOVED}")

    async def check(self) -> None:
        """Raise Unavailable without a key. Does not call the provider."""
        check_key(self._api_key)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _score_once(self, answer: Answer, cleaned: Answer, usage: TokenUsage) -> Feedback:
        """Request levels and remarks, and drop remarks whose quote is not in the answer."""
        output = await self._request_scoring(cleaned, usage)
        remarks = _verified_remarks(answer, output.claims)
        levels: dict[str, int | None] = dict(output.levels)
        levels["delivery"] = None
        summary = _sanitize(output.summary, _MAX_SUMMARY_CHARACTERS)
        scores = Scores(None, None, None, None)
        if output.cannot_judge is not None:
            summary = _sanitize(output.cannot_judge, _MAX_SUMMARY_CHARACTERS) or summary
        elif not remarks:
            summary = _NO_VERIFIED_REMARK
        else:
            question_type = self._rubric.classify_question(answer.question)
            scores = self._rubric.scores(levels, question_type)
        feedback = self._feedback(answer, scores, remarks, summary)
        if scores.overall is None:
            return feedback
        return replace(
            feedback,
            main_improvement=_verified_improvement(answer, output.main_improvement),
            star=_verified_star(answer, output.star),
        )

    def _feedback(
        self, answer: Answer, scores: Scores, remarks: tuple[Remark, ...], summary: str
    ) -> Feedback:
        return Feedback(
            overall_score=scores.overall,
            communication_score=scores.communication,
            technical_score=scores.technical,
            clarity_score=scores.clarity,
            remarks=remarks,
            detailed_feedback=summary,
            provider=PROVIDER,
            model=self._model,
            rubric_version=self._rubric.version,
            delivery=delivery.measure(answer),
            prompt_version=prompts.version(*prompts.SCORE),
        )

    def _build_messages(self, answer: Answer) -> list[ChatCompletionMessageParam]:
        """Return instructions and data. User text is a JSON string, which it cannot end."""
        data = {
            "question": strip_injections(answer.question or answer.title),
            "rubric": {name: self._rubric.dimensions[name] for name in _LevelsOutput.model_fields},
            "transcript": answer.text,
        }
        return [
            {"role": "system", "content": prompts.load("score")},
            {"role": "user", "content": json.dumps(data, ensure_ascii=False)},
        ]

    async def _request_scoring(self, answer: Answer, usage: TokenUsage) -> _ScoringOutput:
        """Return the model's scoring. Invalid responses are requested again, up to three times."""
        messages = self._build_messages(answer)
        for _ in range(_MAX_ATTEMPTS):
            try:
                with map_openai_errors(), REQUEST_SECONDS.time():
                    raw = await self._client.chat.completions.with_raw_response.parse(
                        model=self._model,
                        messages=messages,
                        response_format=_ScoringOutput,
                        max_completion_tokens=_MAX_TOKENS,
                        temperature=self._temperature,
                    )
                    # Before parsing: truncated and invalid responses are billed too.
                    usage.add(self._model, *read_usage(raw.text, messages))
                    completion = raw.parse()
            except (ValidationError, ValueError, AttributeError) as error:
                # AttributeError: the SDK treats a body that is not JSON as a completion.
                log.warning("openai.malformed", error=type(error).__name__)
                continue
            except openai.BadRequestError as error:
                # Reasoning models reject any temperature other than their default.
                if error.param == "temperature":
                    self._temperature = openai.omit
                    continue
                raise CannotScore(_DECLINED) from error
            if not completion.choices:
                continue
            message = completion.choices[0].message
            if message.refusal:
                raise CannotScore(_DECLINED)
            if message.parsed is not None:
                return message.parsed
        raise Unavailable("The AI provider returned an invalid response.")


def _median_scoring(scorings: Sequence[Feedback]) -> Feedback:
    """Return the median scoring as a whole, so that its text fits its scores.

    A scoring without a score ranks lowest. Of an even number, the lower median is returned.
    """
    ranked = sorted(scorings, key=lambda one: -1 if (n := one.overall_score) is None else n)
    median = ranked[(len(ranked) - 1) // 2]
    scores = [one.overall_score for one in ranked if one.overall_score is not None]
    if len(ranked) == 1 or median.overall_score is None:
        return median
    spread = f"Scored {len(scores)} times, from {scores[0]} to {scores[-1]}. The median counts."
    return replace(median, detailed_feedback=f"{median.detailed_feedback} {spread}")


def _verified_remarks(answer: Answer, outputs: Sequence[_RemarkOutput]) -> tuple[Remark, ...]:
    """Return the remarks whose quote is in the transcript, with the transcript's own wording."""
    remarks: list[Remark] = []
    for output in outputs[:_MAX_REMARKS]:
        quote = find_quote(answer.text, output.quote)
        text = _sanitize(output.text, _MAX_REMARK_CHARACTERS)
        if quote is None or not text:
            log.info("openai.remark_dropped", dimension=output.dimension)
            continue
        remarks.append(make_remark(answer, output.kind, output.dimension, text, quote))
    return tuple(remarks)


def _verified_improvement(
    answer: Answer, output: _MainImprovementOutput | None
) -> MainImprovement | None:
    """Return the main improvement if its quote is in the transcript, else None."""
    quote = None if output is None else find_quote(answer.text, output.quote)
    if output is None or quote is None:
        return None
    text = _sanitize(output.text, _MAX_REMARK_CHARACTERS)
    drill = _sanitize(output.drill, _MAX_REMARK_CHARACTERS)
    return MainImprovement(text, quote, drill) if text and drill else None


def _verified_star(answer: Answer, star: _StarOutput | None) -> dict[str, str | None]:
    """Return the quote of each part, or None if it is missing or not in the transcript."""
    parts = {} if star is None else star.model_dump()
    return {part: quote and find_quote(answer.text, quote) for part, quote in parts.items()}


def _sanitize(text: str, max_characters: int) -> str:
    return sanitize(text).strip()[:max_characters]
