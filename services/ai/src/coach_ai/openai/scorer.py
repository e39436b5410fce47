"""Scoring by OpenAI's API: a strict response schema, and no remark without a verified quote."""

import asyncio
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from openai.types.chat import ChatCompletionMessageParam
from prometheus_client import Histogram

from coach_ai import delivery
from coach_ai.chat.sanitizer import sanitize
from coach_ai.domain import (
    Answer,
    CannotScore,
    DimensionLevel,
    Feedback,
    MainImprovement,
    PointCoverage,
    QuestionType,
    Remark,
    estimate_tokens,
)
from coach_ai.openai import prompts
from coach_ai.openai.chat_completions import (
    INVALID_RESPONSE_MESSAGE,
    ChatCompletions,
    Completion,
    Request,
)
from coach_ai.openai.client import (
    DEFAULT_TIMEOUT_SECONDS,
    PROVIDER,
    RefusedByProvider,
    check_key,
    estimate_message_tokens,
    open_client,
)
from coach_ai.openai.expected_points import describe_points, verify_points
from coach_ai.openai.invalid_responses import InvalidResponses, digest
from coach_ai.openai.provider_calls import InvalidResponse, ProviderCalls
from coach_ai.openai.scoring_output import (
    MainImprovementOutput,
    OutputFields,
    RemarkOutput,
    ScoringOutput,
    UnreadableOutput,
    build_schema,
    read_scoring,
)
from coach_ai.scoring.answer_validation import rejection_reason, strip_injections
from coach_ai.scoring.points import compute_overall_score, compute_technical_score
from coach_ai.scoring.quotes import find_quote, make_remark
from coach_ai.scoring.rubric import Rubric, Scores, load_rubric
from coach_ai.token_usage import TokenUsage
from coach_common import logs

log = logs.get_logger(__name__)

REQUEST_SECONDS = Histogram(
    "coach_ai_score_request_seconds",
    "Duration of one scoring request to OpenAI.",
    buckets=(0.5, 1, 2, 5, 10, 20, 40, 80, 120),
)

_MAX_TOKENS = 4000
_NOT_FROM_THE_TEXT = "delivery"
"""The dimension that is measured in the recording."""
_TECHNICAL_SCORE_PER_LEVEL = 25
"""Level 1 is a technical score of 0, level 5 one of 100."""
_SAMPLE_TEMPERATURE = 0.5
"""Of the second and further samples: at 0 they would repeat the first."""
_RETRY_TEMPERATURE = 0.3
_MAX_REMARKS = 6
_MAX_REMARK_CHARACTERS = 400
_MAX_SUMMARY_CHARACTERS = 2000

_INJECTION_REMOVED = "Instructions addressed to the evaluator were ignored."
_NO_VERIFIED_REMARK = "No score: none of the scorer's remarks quotes words from your answer."
_DECLINED = "The AI provider declined to score this answer."
_TRUNCATED = "The AI provider's response was truncated."


class OpenAIScorer:
    """A Scorer over OpenAI's API, or a compatible server."""

    def __init__(
        self,
        api_key: str,
        base_url: str | None,
        model: str,
        *,
        samples: int = 1,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        self._api_key, self._base_url, self._model = api_key, base_url, model
        self._completions = ChatCompletions(
            open_client(api_key, base_url, timeout_seconds), base_url, model
        )
        self._calls = ProviderCalls("score", timeout_seconds)
        self._invalid_responses = InvalidResponses()
        self._rubric = load_rubric()
        self._dimensions = list_scored_dimensions(self._rubric)
        self._samples = samples

    def max_tokens_needed(self, answer: Answer) -> int:
        """Return the most tokens that all samples can use, with one attempt each."""
        schema = estimate_tokens(json.dumps(build_schema(self._fields(answer))))
        request = estimate_message_tokens(self._build_messages(answer))
        return self._samples * (request + schema + _MAX_TOKENS)

    async def score(self, answer: Answer, usage: TokenUsage) -> Feedback:
        """Score the answer `samples` times and return the median scoring.

        Answers that cannot be scored are rejected without a request. Sentences that instruct the
        evaluator are not sent. Removing them can lower a score and never raise it.
        """
        return await self._score(answer, range(self._samples), usage)

    async def score_again(self, answer: Answer, usage: TokenUsage) -> Feedback:
        """Score as `score` does, with requests of other samples: none repeats an earlier one."""
        return await self._score(answer, range(self._samples, 2 * self._samples), usage)

    async def _score(self, answer: Answer, samples: range, usage: TokenUsage) -> Feedback:
        """Return the median scoring of these samples."""
        cleaned = replace(answer, text=strip_injections(answer.text))
        # Loading the language model takes up to a second.
        if (reason := await asyncio.to_thread(rejection_reason, cleaned)) is not None:
            return self._reject(answer, reason)
        # One after another: if the provider is unavailable, the remaining requests are not sent.
        median = _median_scoring(
            [await self._score_once(answer, cleaned, number, usage) for number in samples]
        )
        median = delivery.drop_remarks(median, answer.accommodations)
        if cleaned.text == answer.text:
            return median
        return replace(median, detailed_feedback=f"{median.detailed_feedback} {_INJECTION_REMOVED}")

    async def check(self) -> None:
        """Raise Unavailable without a key, or if the last call failed. Sends no request."""
        check_key(self._api_key, self._base_url)
        self._calls.check()

    async def close(self) -> None:
        """Close the connections."""
        await self._completions.client.close()

    async def _score_once(
        self, answer: Answer, cleaned: Answer, sample: int, usage: TokenUsage
    ) -> Feedback:
        """Request levels, points and remarks, and drop those whose quote is not in the answer."""
        output = await self._request_scoring(cleaned, sample, usage)
        remarks = _verified_remarks(answer, output.remarks)
        if output.cannot_judge is not None:
            reason = _sanitize(output.cannot_judge, _MAX_SUMMARY_CHARACTERS)
            return self._reject(
                answer, reason or _sanitize(output.summary, _MAX_SUMMARY_CHARACTERS), remarks
            )
        question_type = self._question_type(answer)
        levels: dict[str, float | None] = {_NOT_FROM_THE_TEXT: None, **output.levels}
        points: tuple[PointCoverage, ...] = ()
        technical = None
        if answer.reference is not None and answer.reference.points:
            matched = verify_points(answer, answer.reference, output)
            points = matched.points
            technical = compute_technical_score(points, len(matched.misconceptions))
            levels["technical"] = 1 + technical / _TECHNICAL_SCORE_PER_LEVEL
        if not remarks and not any(point.quote for point in points):
            return self._reject(answer, _NO_VERIFIED_REMARK)
        scores = self._rubric.scores(levels, question_type)
        if technical is not None:
            scores = replace(
                scores,
                technical=technical,
                overall=compute_overall_score(technical, scores.communication),
            )
        feedback = replace(
            self._feedback(answer, scores, _sanitize(output.summary, _MAX_SUMMARY_CHARACTERS)),
            remarks=remarks,
            points=points,
            dimensions=self._list_dimensions(levels, question_type),
        )
        if scores.overall is None:
            return feedback
        return replace(
            feedback,
            main_improvement=_verified_improvement(answer, output.main_improvement),
            star=_verified_star(answer, output.star),
        )

    def _question_type(self, answer: Answer) -> QuestionType:
        """Return the type of the question: of the bank if it is from there, else by wording."""
        if answer.reference is not None:
            return answer.reference.type
        return self._rubric.classify_question(answer.question)

    def _fields(self, answer: Answer) -> OutputFields:
        return OutputFields.from_question(self._dimensions, answer.reference)

    def _list_dimensions(
        self, levels: Mapping[str, float | None], question_type: QuestionType
    ) -> tuple[DimensionLevel, ...]:
        weights = self._rubric.overall_weights(question_type)
        return tuple(
            DimensionLevel(
                name,
                None if (level := levels.get(name)) is None else round(level, 2),
                weights.get(name, 0.0),
            )
            for name in self._rubric.dimensions
        )

    def _reject(self, answer: Answer, reason: str, remarks: tuple[Remark, ...] = ()) -> Feedback:
        feedback = self._feedback(answer, Scores(None, None, None, None), reason)
        return replace(feedback, remarks=remarks)

    def _feedback(self, answer: Answer, scores: Scores, summary: str) -> Feedback:
        return Feedback(
            overall_score=scores.overall,
            communication_score=scores.communication,
            technical_score=scores.technical,
            clarity_score=scores.clarity,
            remarks=(),
            detailed_feedback=summary,
            provider=PROVIDER,
            model=self._model,
            rubric_version=self._rubric.version,
            delivery=delivery.measure(answer, answer.accommodations),
            prompt_version=prompts.version(*_prompts_of(answer)),
            question_type=self._question_type(answer),
            seniority=answer.seniority,
        )

    def _build_messages(self, answer: Answer) -> list[ChatCompletionMessageParam]:
        """Return instructions and data. User text is a JSON string, which it cannot end."""
        data: dict[str, Any] = {
            "question": strip_injections(answer.question or answer.title),
            "rubric": {name: self._describe_dimension(name, answer) for name in self._dimensions},
            "transcript": answer.text,
        }
        if answer.accommodations:
            data["neither_score_nor_mention"] = list(answer.accommodations)
        if answer.reference is not None and answer.reference.points:
            data |= describe_points(answer.reference)
        instructions = "\n".join(map(prompts.load, _prompts_of(answer)))
        return [
            {"role": "system", "content": instructions},
            {"role": "user", "content": json.dumps(data, ensure_ascii=False)},
        ]

    def _describe_dimension(self, name: str, answer: Answer) -> dict[str, Any]:
        """Return a dimension of the rubric with the expectation for the level of the position."""
        described = dict(self._rubric.dimensions[name])
        expectations = described.pop("expectations", {})
        if answer.seniority is not None and answer.seniority in expectations:
            described["expectation"] = expectations[answer.seniority]
        return described

    async def _request_scoring(
        self, answer: Answer, sample: int, usage: TokenUsage
    ) -> ScoringOutput:
        """Return the model's scoring. After an invalid response a changed request is sent."""
        messages = self._build_messages(answer)
        fields = self._fields(answer)
        schema = build_schema(fields)
        key = digest(f"{sample} {json.dumps(messages)}".encode())
        problem = INVALID_RESPONSE_MESSAGE
        for attempt in self._invalid_responses.list_attempts(key):
            request = _build_request(messages, schema, sample, attempt, problem)
            try:
                with REQUEST_SECONDS.time():
                    async with self._calls.call():
                        output = _read_output(await self._complete(request, usage), fields)
            except InvalidResponse as error:
                problem = str(error.__cause__ or error)
                log.warning("openai.malformed", problem=problem)
                self._invalid_responses.record(key, attempt, str(error))
                if str(error) == _TRUNCATED:
                    raise
            else:
                self._invalid_responses.forget(key)
                return output
        raise InvalidResponse(INVALID_RESPONSE_MESSAGE)

    async def _complete(self, request: Request, usage: TokenUsage) -> Completion:
        """Return the completion. Raises CannotScore if the model or a filter declined."""
        try:
            completion = await self._completions.complete(request, usage)
        except RefusedByProvider as error:
            raise CannotScore(_DECLINED) from error
        if completion.refusal or completion.finish_reason == "content_filter":
            raise CannotScore(_DECLINED)
        return completion


def list_scored_dimensions(rubric: Rubric) -> tuple[str, ...]:
    """Return the dimensions that the model scores: all but the measured one."""
    return tuple(name for name in rubric.dimensions if name != _NOT_FROM_THE_TEXT)


def _prompts_of(answer: Answer) -> tuple[str, ...]:
    has_points = answer.reference is not None and bool(answer.reference.points)
    return prompts.SCORE_POINTS if has_points else prompts.SCORE


def _build_request(
    messages: Sequence[ChatCompletionMessageParam],
    schema: Mapping[str, Any],
    sample: int,
    attempt: int,
    problem: str,
) -> Request:
    """Return the request of this attempt. No two attempts and no two samples are the same."""
    temperature = _SAMPLE_TEMPERATURE if sample else 0.0
    if not attempt:
        return Request(tuple(messages), _MAX_TOKENS, schema, "scoring", temperature)
    correction: ChatCompletionMessageParam = {
        "role": "user",
        "content": f"Your last response could not be read: {problem}. Return the JSON object "
        f"alone. This is attempt {attempt + 1}.",
    }
    return Request(
        (*messages, correction),
        2 * _MAX_TOKENS,
        schema,
        "scoring",
        temperature + _RETRY_TEMPERATURE,
    )


def _read_output(completion: Completion, fields: OutputFields) -> ScoringOutput:
    """Return the scoring in a completion. Raises InvalidResponse if it contains none."""
    text = completion.text if completion.text.strip() else completion.reasoning
    try:
        return read_scoring(text, fields)
    except UnreadableOutput as error:
        is_truncated = completion.finish_reason == "length"
        raise InvalidResponse(_TRUNCATED if is_truncated else INVALID_RESPONSE_MESSAGE) from error


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
    return replace(
        median,
        detailed_feedback=f"{median.detailed_feedback} {spread}",
        score_spread=round(2 * statistics.stdev(scores), 1) if len(scores) > 1 else None,
    )


def _verified_remarks(answer: Answer, outputs: Sequence[RemarkOutput]) -> tuple[Remark, ...]:
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
    answer: Answer, output: MainImprovementOutput | None
) -> MainImprovement | None:
    """Return the main improvement if its quote is in the transcript, else None."""
    quote = None if output is None else find_quote(answer.text, output.quote)
    if output is None or quote is None:
        return None
    text = _sanitize(output.text, _MAX_REMARK_CHARACTERS)
    drill = _sanitize(output.drill, _MAX_REMARK_CHARACTERS)
    return MainImprovement(text, quote, drill) if text and drill else None


def _verified_star(answer: Answer, star: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the quote of each part, or None if it is missing or not in the transcript."""
    return {part: quote and find_quote(answer.text, quote) for part, quote in star.items()}


def _sanitize(text: str, max_characters: int) -> str:
    return sanitize(text).strip()[:max_characters]
