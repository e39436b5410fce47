"""Chat by OpenAI's API, or a compatible server: streamed, and guarded against prompt leaks."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict

import openai
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from coach_ai.domain import ChatContext, Message, estimate_tokens, extractive_summary
from coach_ai.openai import prompts
from coach_ai.openai.client import (
    check_key,
    estimate_message_tokens,
    map_openai_errors,
    open_client,
    read_usage,
)
from coach_ai.token_usage import TokenUsage
from coach_common import logs
from coach_common.errors import Unavailable

log = logs.get_logger(__name__)

DECLINED_REPLY = "I can only help with interview practice. What would you like to prepare for?"

_MAX_TOKENS = 4000


class OpenAIChat:
    """A Chat over OpenAI's API, or a compatible server."""

    def __init__(self, api_key: str, base_url: str | None, model: str) -> None:
        self._api_key = api_key
        self._client = open_client(api_key, base_url)
        self._model = model
        self._guard = prompts.PromptLeakGuard("\n".join(map(prompts.load, prompts.CHAT)))

    def max_tokens_needed(self, context: ChatContext) -> int:
        """Return the most tokens a reply can use."""
        return estimate_message_tokens(_build_messages(context)) + _MAX_TOKENS

    async def reply(self, context: ChatContext, usage: TokenUsage) -> AsyncGenerator[str, None]:
        """Yield the model's reply. If it starts to quote the prompt, end with a fixed sentence."""
        try:
            async with aclosing(self._guard.filter(self._stream_reply(context, usage))) as pieces:
                async for piece in pieces:
                    yield piece
        except prompts.PromptLeak:
            log.warning("chat.prompt_leak_blocked")
            yield DECLINED_REPLY

    async def summarise(
        self, summary: str, messages: Sequence[Message], usage: TokenUsage, *, budget: int
    ) -> str:
        """Return the model's summary, or an extractive one if the model's is empty or too long."""
        data = {"summary": summary, "messages": [_to_message(message) for message in messages]}
        instructions = prompts.load("summarise").replace("{words}", str(budget // 2))
        request: list[ChatCompletionMessageParam] = [
            {"role": "system", "content": instructions},
            {"role": "user", "content": json.dumps(data, ensure_ascii=False)},
        ]
        try:
            with map_openai_errors():
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=self._model, messages=request, max_completion_tokens=_MAX_TOKENS
                )
                usage.add(self._model, *read_usage(raw.text, request))
                completion = raw.parse()
        except (openai.APIError, ValueError, AttributeError) as error:
            raise Unavailable("The AI provider returned an invalid summary.") from error
        choices = completion.choices
        text = (choices[0].message.content or "").strip() if choices else ""
        if not text or estimate_tokens(text) > budget:
            return extractive_summary(summary, messages, budget=budget)
        return text

    async def check(self) -> None:
        """Raise Unavailable without a key. Does not call the provider."""
        check_key(self._api_key)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _stream_reply(
        self, context: ChatContext, usage: TokenUsage
    ) -> AsyncGenerator[str, None]:
        is_finished = False
        try:
            with map_openai_errors():
                async with aclosing(self._stream_chunks(_build_messages(context), usage)) as chunks:
                    async for chunk in chunks:
                        for choice in chunk.choices or ():
                            is_finished = is_finished or choice.finish_reason is not None
                            if choice.finish_reason == "content_filter":
                                raise Unavailable("The AI provider declined to reply.")
                            if text := choice.delta.content or choice.delta.refusal:
                                yield text
        except (openai.APIError, ValueError, AttributeError) as error:
            # APIError: an error event in the stream, or a request that was rejected as invalid.
            raise Unavailable("The coach could not reply to this message.") from error
        if not is_finished:
            raise Unavailable("The coach's reply was interrupted. Please try again.")

    async def _stream_chunks(
        self, request: list[ChatCompletionMessageParam], usage: TokenUsage
    ) -> AsyncGenerator[ChatCompletionChunk, None]:
        """Yield the chunks, and add the tokens at the end.

        The provider reports the tokens in the last chunk. If the stream ends before, they are
        estimated.
        """
        stream = await self._client.chat.completions.create(
            model=self._model,
            messages=request,
            max_completion_tokens=_MAX_TOKENS,
            stream=True,
            stream_options={"include_usage": True},
        )
        reported: CompletionUsage | None = None
        received = ""
        try:
            async with stream:
                async for chunk in stream:
                    reported = chunk.usage or reported
                    received += "".join(
                        choice.delta.content or "" for choice in chunk.choices or ()
                    )
                    yield chunk
        finally:
            if reported is None:
                usage.add(self._model, estimate_message_tokens(request), estimate_tokens(received))
            else:
                usage.add(self._model, reported.prompt_tokens, reported.completion_tokens)


def _build_messages(context: ChatContext) -> list[ChatCompletionMessageParam]:
    """Return instructions, data, the conversation, and a reminder of the instructions.

    The reminder is needed because models follow the instructions less in long conversations. Past
    sessions are sent as user data, never as instructions: users write the titles.
    """
    known = {
        "past_sessions": [asdict(session) for session in context.past_sessions],
        "earlier_in_this_conversation": context.summary,
    }
    # Escaped, so that a title cannot close the data tag.
    data = json.dumps(known).replace("<", "\\u003c")
    return [
        {"role": "system", "content": prompts.load("chat")},
        {"role": "user", "content": f"<data>{data}</data>"},
        *map(_to_message, context.messages),
        {"role": "system", "content": prompts.load("reminder")},
    ]


def _to_message(message: Message) -> ChatCompletionMessageParam:
    if message.role == "assistant":
        return {"role": "assistant", "content": message.text}
    return {"role": "user", "content": message.text}
