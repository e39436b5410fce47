"""Scoring by OpenAI's API: a strict response schema, and no remark without a verified quote."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from openai.types.chat import ChatCompletionMessageParam
from prometheus_client import Histogram

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
from coach_ai.openai.invalid_responses import InvalidResponses, digest
from coach_ai.openai.provider_calls import InvalidResponse, ProviderCalls
from coach_ai.openai.scoring_output import (
    MainImprovementOutput,
    RemarkOutput,
    ScoringOutput,
    UnreadableOutput,
    build_schema,
    read_scoring,
)
from coach_ai.scoring.answer_validation import rejection_reason, strip_injections
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
        self._schema = build_schema(self._dimensions)
        self._samples = samples

    def max_tokens_needed(self, answer: Answer) -> int:
        """Return the most tokens that all samples can use, with one attempt each."""
        schema = estimate_tokens(json.dumps(self._schema))
        request = estimate_message_tokens(self._build_messages(answer))
        return self._samples * (request + schema + _MAX_TOKENS)

    async def score(self, answer: Answer, usage: TokenUsage) -> Feedback:
        """Score the answer `samples` times and return the median scoring.

        Answers that cannot be scored are rejected without a request. Sentences that instruct the
        evaluator are not sent. Removing them can lower a score and never raise it.
        """
        cleaned = replace(answer, text=strip_injections(answer.text))
        # Loading the language model takes up to a second.
        if (reason := await asyncio.to_thread(rejection_reason, cleaned)) is not None:
            return self._feedback(answer, Scores(None, None, None, None), (), reason)
        # One after another: if the provider is unavailable, the remaining requests are not sent.
        median = _median_scoring(
            [
                await self._score_once(answer, cleaned, number, usage)
                for number in range(self._samples)
            ]
        )
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
        """Request levels and remarks, and drop remarks whose quote is not in the answer."""
        output = await self._request_scoring(cleaned, sample, usage)
        remarks = _verified_remarks(answer, output.remarks)
        levels = {_NOT_FROM_THE_TEXT: None, **output.levels}
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
            "rubric": {name: self._rubric.dimensions[name] for name in self._dimensions},
            "transcript": answer.text,
        }
        return [
            {"role": "system", "content": prompts.load("score")},
            {"role": "user", "content": json.dumps(data, ensure_ascii=False)},
        ]

    async def _request_scoring(
        self, answer: Answer, sample: int, usage: TokenUsage
    ) -> ScoringOutput:
        """Return the model's scoring. After an invalid response a changed request is sent."""
        messages = self._build_messages(answer)
        key = digest(f"{sample} {json.dumps(messages)}".encode())
        problem = INVALID_RESPONSE_MESSAGE
        for attempt in self._invalid_responses.list_attempts(key):
            request = self._build_request(messages, sample, attempt, problem)
            try:
                with REQUEST_SECONDS.time():
                    async with self._calls.call():
                        output = _read_output(
                            await self._complete(request, usage), self._dimensions
                        )
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

    def _build_request(
        self,
        messages: Sequence[ChatCompletionMessageParam],
        sample: int,
        attempt: int,
        problem: str,
    ) -> Request:
        """Return the request of this attempt. No two attempts and no two samples are the same."""
        temperature = _SAMPLE_TEMPERATURE if sample else 0.0
        if not attempt:
            return Request(tuple(messages), _MAX_TOKENS, self._schema, "scoring", temperature)
        correction: ChatCompletionMessageParam = {
            "role": "user",
            "content": f"Your last response could not be read: {problem}. Return the JSON object "
            f"alone. This is attempt {attempt + 1}.",
        }
        return Request(
            (*messages, correction),
            2 * _MAX_TOKENS,
            self._schema,
            "scoring",
            temperature + _RETRY_TEMPERATURE,
        )

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


def _read_output(completion: Completion, dimensions: Sequence[str]) -> ScoringOutput:
    """Return the scoring in a completion. Raises InvalidResponse if it contains none."""
    text = completion.text if completion.text.strip() else completion.reasoning
    try:
        return read_scoring(text, dimensions)
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
    return replace(median, detailed_feedback=f"{median.detailed_feedback} {spread}")


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
