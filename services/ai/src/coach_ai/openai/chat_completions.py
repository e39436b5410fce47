"""Chat completions of one server and model, in the richest form that the server accepts."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

import openai
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from coach_ai.domain import estimate_tokens
from coach_ai.openai.client import (
    RefusedByProvider,
    estimate_message_tokens,
    map_openai_errors,
    read_usage,
    to_unavailable,
)
from coach_ai.openai.json_responses import parse_object, read_content
from coach_ai.openai.provider_calls import InvalidResponse
from coach_ai.openai.refusals import Feature, Reason, read_error_body
from coach_ai.openai.request_forms import ChatForm, FormMemory, first_chat_form, simplify
from coach_ai.token_usage import TokenUsage

INVALID_RESPONSE_MESSAGE = "The AI provider returned an invalid response."


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model returned. `refusal` is set if it declined to answer.

    `reasoning` is the output that the server put beside the response. Some servers put all output
    of a reasoning model there.
    """

    text: str
    reasoning: str
    finish_reason: str | None
    refusal: str | None


@dataclass(frozen=True, slots=True)
class Request:
    """A chat completion to request.

    `schema` is the JSON Schema of the response, or None for plain text. `temperature` None leaves
    it to the server.
    """

    messages: tuple[ChatCompletionMessageParam, ...]
    max_tokens: int
    schema: Mapping[str, Any] | None = None
    schema_name: str = "response"
    temperature: float | None = None

    @property
    def used_features(self) -> frozenset[Feature]:
        """The features that this request has in its richest form."""
        used = {Feature.TOKEN_LIMIT, Feature.SYSTEM_ROLE}
        if self.schema is not None:
            used.add(Feature.RESPONSE_FORMAT)
        if self.temperature is not None:
            used.add(Feature.TEMPERATURE)
        return frozenset(used)


class ChatCompletions:
    """Sends chat completions. The caller guards the calls (`ProviderCalls`)."""

    def __init__(self, client: openai.AsyncOpenAI, base_url: str | None, model: str) -> None:
        self.client = client
        self._model = model
        self._forms = FormMemory("chat", base_url, model, first_chat_form(base_url))

    async def complete(self, request: Request, usage: TokenUsage) -> Completion:
        """Return the completion, and add the tokens of every response to `usage`.

        Raises:
            RefusedByProvider: If a content filter refused the words.
            Unavailable: If the provider fails, or accepts no form of the request.
        """
        form = self._forms.get()
        has_token_limit = True
        while True:
            body = _write_body(request, form, has_token_limit=has_token_limit)
            try:
                completion = await self._complete_once(body, usage)
            except RefusedByProvider as refused:
                if refused.refusal.reason is Reason.TOO_LONG and has_token_limit:
                    # The limit counts as part of the context: without it the rest is used.
                    has_token_limit = False
                    continue
                form = _next_form(form, refused, request.used_features)
                continue
            self._forms.remember(form)
            return completion

    async def stream(
        self, request: Request, usage: TokenUsage, deadline: float
    ) -> AsyncGenerator[ChatCompletionChunk, None]:
        """Yield the chunks, and add the tokens at the end.

        The provider reports the tokens in the last chunk. If the stream ends before, they are
        estimated. `deadline` is in the time of the event loop.

        Raises:
            RefusedByProvider: If a content filter refused the words.
            TimeoutError: After the deadline.
            Unavailable: If the provider fails, or accepts no form of the request.
        """
        used = request.used_features | {Feature.STREAM_OPTIONS}
        form = self._forms.get()
        while True:
            body = _write_body(request, form, has_token_limit=True)
            body["stream"] = True
            if form.has_stream_options:
                body["stream_options"] = {"include_usage": True}
            try:
                with map_openai_errors():
                    async with asyncio.timeout_at(deadline):
                        stream = await self.client.chat.completions.create(
                            model=self._model, **body
                        )
            except RefusedByProvider as refused:
                form = _next_form(form, refused, used)
                continue
            self._forms.remember(form)
            break
        async with aclosing(self._read_stream(stream, request, usage, deadline)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _read_stream(
        self, stream: Any, request: Request, usage: TokenUsage, deadline: float
    ) -> AsyncGenerator[ChatCompletionChunk, None]:
        reported: CompletionUsage | None = None
        received = ""
        try:
            async with stream:
                iterator = aiter(stream)
                while True:
                    try:
                        with map_openai_errors():
                            async with asyncio.timeout_at(deadline):
                                chunk = await anext(iterator, None)
                    except RefusedByProvider as refused:
                        if refused.refusal.reason is Reason.CONTENT:
                            raise
                        raise to_unavailable(refused) from refused
                    if chunk is None:
                        return
                    reported = chunk.usage or reported
                    received += "".join(
                        read_content(choice.delta.content) for choice in chunk.choices or ()
                    )
                    yield chunk
        finally:
            tokens_in = getattr(reported, "prompt_tokens", None)
            tokens_out = getattr(reported, "completion_tokens", None)
            if isinstance(tokens_in, int) and isinstance(tokens_out, int):
                usage.add(self._model, tokens_in, tokens_out)
            else:
                usage.add(
                    self._model,
                    estimate_message_tokens(request.messages),
                    estimate_tokens(received),
                )

    async def _complete_once(self, body: dict[str, Any], usage: TokenUsage) -> Completion:
        with map_openai_errors():
            raw = await self.client.chat.completions.with_raw_response.create(
                model=self._model, **body
            )
        text = raw.text
        response = parse_object(text)
        if response is not None and response.get("error") and not response.get("choices"):
            raise RefusedByProvider(read_error_body(text))
        # Before reading on: truncated and invalid responses are billed too.
        usage.add(self._model, *read_usage(text, body["messages"]))
        return _read_completion(response)


def _next_form(form: ChatForm, refused: RefusedByProvider, used: frozenset[Feature]) -> ChatForm:
    """Return the form to try after a refusal, or raise if the refusal has another reason."""
    if refused.refusal.reason is Reason.CONTENT:
        raise refused
    plainer = None
    if refused.refusal.reason in (Reason.REQUEST, Reason.FILE, Reason.TOO_SHORT):
        plainer = simplify(form, refused.refusal.features, used)
    if plainer is None:
        raise to_unavailable(refused) from refused
    return plainer


def _write_body(request: Request, form: ChatForm, *, has_token_limit: bool) -> dict[str, Any]:
    """Return the parameters of a request in this form, without the model."""
    messages: Iterable[ChatCompletionMessageParam] = request.messages
    body: dict[str, Any] = {}
    if request.schema is not None:
        response_format = form.response_formats[0]
        if response_format == "json_schema":
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": request.schema_name,
                    "strict": True,
                    "schema": dict(request.schema),
                },
            }
        else:
            messages = _append_schema(request.messages, request.schema)
            if response_format == "json_object":
                body["response_format"] = {"type": "json_object"}
    if has_token_limit and form.token_limits[0] != "none":
        body[form.token_limits[0]] = request.max_tokens
    if form.has_temperature and request.temperature is not None:
        body["temperature"] = request.temperature
    body["messages"] = list(messages) if form.has_system_role else _merge_roles(messages)
    return body


def _append_schema(
    messages: tuple[ChatCompletionMessageParam, ...], schema: Mapping[str, Any]
) -> list[ChatCompletionMessageParam]:
    """Return the messages with the schema in the first one, for servers that do not enforce it."""
    first, *others = messages
    text = (
        f"{first['content']}\n\nReturn one JSON object, and no other text. "
        f"It must follow this JSON Schema:\n{json.dumps(schema)}"
    )
    return [cast(ChatCompletionMessageParam, {**first, "content": text}), *others]


def _merge_roles(
    messages: Iterable[ChatCompletionMessageParam],
) -> list[ChatCompletionMessageParam]:
    """Return the messages with user and assistant in turn, for models without a system role."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message["role"] == "assistant" else "user"
        content = str(message.get("content") or "")
        if merged and merged[-1]["role"] == role:
            merged[-1]["content"] += f"\n\n{content}"
        else:
            merged.append({"role": role, "content": content})
    return cast(list[ChatCompletionMessageParam], merged)


def _read_completion(response: Mapping[str, Any] | None) -> Completion:
    """Return the completion in a response. Raises InvalidResponse if it contains none."""
    choices = None if response is None else response.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise InvalidResponse(INVALID_RESPONSE_MESSAGE)
    finish_reason, refusal = choice.get("finish_reason"), message.get("refusal")
    return Completion(
        read_content(message.get("content")),
        read_content(message.get("reasoning_content") or message.get("reasoning")),
        finish_reason if isinstance(finish_reason, str) else None,
        refusal if isinstance(refusal, str) and refusal else None,
    )
