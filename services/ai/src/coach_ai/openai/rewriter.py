"""Rewrites by OpenAI's API: every sentence is checked against the passage that it names."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from openai.types.chat import ChatCompletionMessageParam
from prometheus_client import Counter

from coach_ai.chat.sanitizer import sanitize
from coach_ai.domain import Answer, Feedback, Importance, PointStatus, estimate_tokens
from coach_ai.domain.rewrites import MAX_REWRITE_CHARACTERS, Rewrite, RewrittenSentence
from coach_ai.openai import prompts
from coach_ai.openai.chat_completions import ChatCompletions, Completion, Request
from coach_ai.openai.client import (
    DEFAULT_TIMEOUT_SECONDS,
    PROVIDER,
    RefusedByProvider,
    check_key,
    estimate_message_tokens,
    open_client,
)
from coach_ai.openai.json_responses import find_objects
from coach_ai.openai.provider_calls import InvalidResponse, ProviderCalls
from coach_ai.rewriting.own_sentences import list_own_sentences, read_answer
from coach_ai.rewriting.template import write_from_feedback
from coach_ai.rewriting.verification import ProposedSentence, Unsupported, verify
from coach_ai.scoring.answer_validation import strip_injections
from coach_ai.scoring.quotes import find_quote
from coach_ai.token_usage import TokenUsage
from coach_common import logs

log = logs.get_logger(__name__)

FALLBACKS = Counter(
    "coach_ai_rewrite_fallbacks",
    "Rewrites by the template because of the model's response, by what was wrong with it.",
    ["reason"],
)

_MAX_TOKENS = 4000
_ATTEMPTS = 2
_RETRY_TEMPERATURE = 0.3
_MAX_SENTENCES = 60
_TEXT = {"type": "string"}
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "sentences": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"text": _TEXT, "from": {"anyOf": [_TEXT, {"type": "null"}]}},
                "required": ["text", "from"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["sentences"],
    "additionalProperties": False,
}

_NOTE = (
    "A language model has ordered and shortened your answer. Every word outside of brackets was"
    " compared with what you said. Fill in each blank with what really happened, or delete it."
)
_REPLACED_NOTE = "Sentences that contained something else are in your own words."
_FALLBACK_NOTES = {
    "unsupported": "The language model's version contained something that you did not say, so it"
    " is not shown.",
    "unreadable": "The language model's response could not be read.",
    "declined": "The language model declined to rewrite this answer.",
}


class OpenAIRewriter:
    """A Rewriter over OpenAI's API, or a compatible server. Falls back to the template."""

    def __init__(
        self,
        api_key: str,
        base_url: str | None,
        model: str,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        self._api_key, self._base_url, self._model = api_key, base_url, model
        self._completions = ChatCompletions(
            open_client(api_key, base_url, timeout_seconds), base_url, model
        )
        self._calls = ProviderCalls("rewrite", timeout_seconds)

    def max_tokens_needed(self, answer: Answer, feedback: Feedback) -> int:
        """Return the most tokens that both attempts can use."""
        schema = estimate_tokens(json.dumps(_SCHEMA))
        request = estimate_message_tokens(_build_messages(answer, feedback))
        return _ATTEMPTS * (request + schema + _MAX_TOKENS)

    async def rewrite(self, answer: Answer, feedback: Feedback, usage: TokenUsage) -> Rewrite:
        """Return the model's version, or the template's with the reason in its note.

        If a sentence has something that is not in the answer, the model is asked once more. What
        fails again is replaced by the user's own words.

        Raises:
            Unavailable: If the provider may succeed later.
        """
        text = read_answer(answer)
        problem: str | None = None
        reason = "unreadable"
        proposed: list[ProposedSentence] | None = None
        for _ in range(_ATTEMPTS):
            try:
                proposed = await self._propose(answer, feedback, problem, usage)
            except (RefusedByProvider, _Declined):
                proposed, reason = None, "declined"
                break
            if proposed is None:
                problem = "it contains no JSON object with `sentences`"
                continue
            sentences, problems = await asyncio.to_thread(_verify_all, proposed, text)
            if not problems:
                return self._rewrite(sentences, _NOTE)
            problem, reason = "; ".join(problems), "unsupported"
            log.info("openai.rewrite_unsupported", sentences=len(problems))
        if proposed is not None:
            repaired = await asyncio.to_thread(_repair, proposed, text)
            if repaired is not None:
                return self._rewrite(repaired, f"{_NOTE} {_REPLACED_NOTE}")
        FALLBACKS.labels(reason).inc()
        written = await asyncio.to_thread(write_from_feedback, answer, feedback)
        return replace(written, note=f"{_FALLBACK_NOTES[reason]} {written.note}")

    async def check(self) -> None:
        """Raise Unavailable without a key, or if the last call failed. Sends no request."""
        check_key(self._api_key, self._base_url)
        self._calls.check()

    async def close(self) -> None:
        """Close the connections."""
        await self._completions.client.close()

    def _rewrite(self, sentences: Sequence[RewrittenSentence], note: str) -> Rewrite:
        return Rewrite(tuple(sentences), PROVIDER, self._model, note)

    async def _propose(
        self, answer: Answer, feedback: Feedback, problem: str | None, usage: TokenUsage
    ) -> list[ProposedSentence] | None:
        """Return the model's sentences, or None if the response contains none."""
        messages = _build_messages(answer, feedback)
        if problem is not None:
            messages.append(
                {
                    "role": "user",
                    "content": "Your last response cannot be used. Problems: "
                    f"{problem}. Return the JSON object again, with these corrected.",
                }
            )
        temperature = 0.0 if problem is None else _RETRY_TEMPERATURE
        request = Request(tuple(messages), _MAX_TOKENS, _SCHEMA, "rewrite", temperature)
        async with self._calls.call():
            try:
                completion = await self._completions.complete(request, usage)
            except InvalidResponse:
                return None
        if completion.refusal or completion.finish_reason == "content_filter":
            raise _Declined
        return _read_sentences(completion)


class _Declined(Exception):
    """The model or a filter declined."""


def _build_messages(answer: Answer, feedback: Feedback) -> list[ChatCompletionMessageParam]:
    """Return instructions and data. User text is a JSON string, which it cannot end."""
    data: dict[str, Any] = {
        "question": strip_injections(answer.question or answer.title),
        "question_type": feedback.question_type,
        "transcript": read_answer(answer),
    }
    if feedback.points:
        data["expected_points"] = [
            {"text": strip_injections(one.text), "status": one.status}
            for one in feedback.points
            if one.status is not PointStatus.MISSING or one.importance is Importance.MUST
        ]
    else:
        data["parts"] = feedback.star
    return [
        {"role": "system", "content": "\n".join(map(prompts.load, prompts.REWRITE))},
        {"role": "user", "content": json.dumps(data, ensure_ascii=False)},
    ]


def _read_sentences(completion: Completion) -> list[ProposedSentence] | None:
    """Return the sentences of the last object in the response that has some."""
    text = completion.text if completion.text.strip() else completion.reasoning
    read = None
    for found in find_objects(text):
        entries = found.get("sentences")
        if not isinstance(entries, list) or not 0 < len(entries) <= _MAX_SENTENCES:
            continue
        sentences = [
            ProposedSentence(
                sanitize(one["text"]).strip(),
                one["from"] if isinstance(one.get("from"), str) else None,
            )
            for one in entries
            if isinstance(one, dict) and isinstance(one.get("text"), str)
        ]
        if len(sentences) == len(entries):
            read = sentences
    if read is None or sum(len(one.text) + 1 for one in read) > MAX_REWRITE_CHARACTERS:
        return None
    return read


def _verify_all(
    proposed: Sequence[ProposedSentence], text: str
) -> tuple[list[RewrittenSentence], list[str]]:
    """Return the sentences that pass, and the problems of the others."""
    sentences, problems = [], []
    for number, one in enumerate(proposed, 1):
        try:
            sentences.append(verify(one, text))
        except Unsupported as error:
            problems.append(f"sentence {number}: {error}")
    if not problems and not any(one.quote for one in sentences):
        problems.append("no sentence is from the transcript")
    return sentences, problems


def _repair(proposed: Sequence[ProposedSentence], text: str) -> list[RewrittenSentence] | None:
    """Return the sentences with those that fail replaced by the user's own words.

    None if a sentence names no passage of the transcript, or nothing would be the model's.
    """
    repaired: list[RewrittenSentence] = []
    passed = 0
    for one in proposed:
        try:
            verified = verify(one, text)
        except Unsupported:
            quote = find_quote(text, one.source or "")
            if quote is None:
                return None
            repaired += [
                RewrittenSentence(own.text, own.quote) for own in list_own_sentences(quote)
            ]
        else:
            passed += not verified.is_blank
            repaired.append(verified)
    is_short = sum(len(one.text) + 1 for one in repaired) <= MAX_REWRITE_CHARACTERS
    return repaired if passed and is_short else None
