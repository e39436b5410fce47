"""Chat by OpenAI's API, or a compatible server: streamed, and guarded against prompt leaks."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict

from openai.types.chat import ChatCompletionMessageParam

from coach_ai.domain import ChatContext, Message, estimate_tokens, extractive_summary
from coach_ai.openai import prompts
from coach_ai.openai.chat_completions import ChatCompletions, Request
from coach_ai.openai.client import (
    DEFAULT_TIMEOUT_SECONDS,
    RefusedByProvider,
    check_key,
    estimate_message_tokens,
    open_client,
)
from coach_ai.openai.json_responses import read_content
from coach_ai.openai.provider_calls import InvalidResponse, ProviderCalls
from coach_ai.openai.thinking import remove_thinking, skip_thinking
from coach_ai.token_usage import TokenUsage
from coach_common import logs
from coach_common.errors import Unavailable

log = logs.get_logger(__name__)

DECLINED_REPLY = "I can only help with interview practice. What would you like to prepare for?"

_DECLINED = "The AI provider declined to reply."
_MAX_TOKENS = 4000


class OpenAIChat:
    """A Chat over OpenAI's API, or a compatible server."""

    def __init__(
        self,
        api_key: str,
        base_url: str | None,
        model: str,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        self._api_key, self._base_url = api_key, base_url
        self._completions = ChatCompletions(
            open_client(api_key, base_url, timeout_seconds), base_url, model
        )
        self._calls = ProviderCalls("chat", timeout_seconds)
        self._guard = prompts.PromptLeakGuard("\n".join(map(prompts.load, prompts.CHAT)))

    def max_tokens_needed(self, context: ChatContext) -> int:
        """Return the most tokens a reply can use."""
        return estimate_message_tokens(_build_messages(context)) + _MAX_TOKENS

    async def reply(self, context: ChatContext, usage: TokenUsage) -> AsyncGenerator[str, None]:
        """Yield the model's reply. If it starts to quote the prompt, end with a fixed sentence."""
        try:
            reply = skip_thinking(self._stream_reply(context, usage))
            async with aclosing(self._guard.filter(reply)) as pieces:
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
        request: tuple[ChatCompletionMessageParam, ...] = (
            {"role": "system", "content": instructions},
            {"role": "user", "content": json.dumps(data, ensure_ascii=False)},
        )
        async with self._calls.call():
            try:
                completion = await self._completions.complete(Request(request, _MAX_TOKENS), usage)
            except RefusedByProvider as error:
                raise Unavailable(_DECLINED) from error
        text = remove_thinking(completion.text).strip()
        if not text or estimate_tokens(text) > budget:
            return extractive_summary(summary, messages, budget=budget)
        return text

    async def check(self) -> None:
        """Raise Unavailable without a key, or if the last call failed. Sends no request."""
        check_key(self._api_key, self._base_url)
        self._calls.check()

    async def close(self) -> None:
        """Close the connections."""
        await self._completions.client.close()

    async def _stream_reply(
        self, context: ChatContext, usage: TokenUsage
    ) -> AsyncGenerator[str, None]:
        """Yield the text of the reply. Raises Unavailable if it does not reach its end."""
        is_finished = False
        request = Request(tuple(_build_messages(context)), _MAX_TOKENS)
        async with self._calls.track() as deadline:
            try:
                async with aclosing(self._completions.stream(request, usage, deadline)) as chunks:
                    async for chunk in chunks:
                        for choice in chunk.choices or ():
                            is_finished = is_finished or choice.finish_reason is not None
                            if choice.finish_reason == "content_filter":
                                raise Unavailable(_DECLINED)
                            if text := read_content(choice.delta.content) or choice.delta.refusal:
                                yield text
            except RefusedByProvider as error:
                raise Unavailable(_DECLINED) from error
            except (ValueError, TypeError, AttributeError) as error:
                # The SDK does not validate the chunks.
                raise InvalidResponse("The coach could not reply to this message.") from error
            if not is_finished:
                raise InvalidResponse("The coach's reply was interrupted. Please try again.")


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
