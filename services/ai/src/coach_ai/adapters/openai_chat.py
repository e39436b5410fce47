"""Conversation by OpenAI's API, or a server that speaks it: streamed, and kept to its subject."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict

import openai
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from coach_ai.adapters import prompts
from coach_ai.adapters.openai_client import tokens_of, translated, usage_in
from coach_ai.domain import Message, Talk, extract, tokens_in
from coach_ai.spending import Spent
from coach_common import logs
from coach_common.errors import Unavailable

log = logs.get_logger(__name__)

DECLINED = "I keep to interview practice. What would you like to prepare for?"

_MAX_TOKENS = 4000


class OpenAIChat:
    """The talking half of a Coach."""

    def __init__(self, client: openai.AsyncOpenAI, model: str) -> None:
        self._client = client
        self._model = model
        self._guard = prompts.PromptGuard("\n".join(map(prompts.load, prompts.CHAT)))

    def most_tokens(self, talk: Talk) -> int:
        """Return the most that a reply takes."""
        return tokens_of(_messages(talk)) + _MAX_TOKENS

    async def reply(self, talk: Talk, spent: Spent) -> AsyncGenerator[str, None]:
        """Yield the model's words; a sentence of ours where it begins to read out its orders."""
        try:
            async with aclosing(self._guard.passed(self._streamed(talk, spent))) as pieces:
                async for piece in pieces:
                    yield piece
        except prompts.Leaking:
            log.warning("chat.prompt_quoted")
            yield DECLINED

    async def summarise(
        self, summary: str, messages: Sequence[Message], spent: Spent, *, budget: int
    ) -> str:
        """Ask for a summary; one without a model where the answer is none or too long."""
        given = {"summary": summary, "messages": [_turn(message) for message in messages]}
        orders = prompts.load("summarise").replace("{words}", str(budget // 2))
        asked: list[ChatCompletionMessageParam] = [
            {"role": "system", "content": orders},
            {"role": "user", "content": json.dumps(given, ensure_ascii=False)},
        ]
        try:
            with translated():
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=self._model, messages=asked, max_completion_tokens=_MAX_TOKENS
                )
                spent.add(self._model, *usage_in(raw.text, asked))
                answer = raw.parse()
        except (openai.APIError, ValueError, AttributeError) as error:
            raise Unavailable("The AI provider's summary made no sense.") from error
        text = (answer.choices[0].message.content or "").strip() if answer.choices else ""
        if not text or tokens_in(text) > budget:
            return extract(summary, messages, budget=budget)
        return text

    async def _streamed(self, talk: Talk, spent: Spent) -> AsyncGenerator[str, None]:
        is_finished = False
        try:
            with translated():
                async with aclosing(self._chunks(_messages(talk), spent)) as chunks:
                    async for chunk in chunks:
                        for choice in chunk.choices or ():
                            is_finished = is_finished or choice.finish_reason is not None
                            if choice.finish_reason == "content_filter":
                                raise Unavailable("The AI provider declined to answer that.")
                            if text := choice.delta.content or choice.delta.refusal:
                                yield text
        except (openai.APIError, ValueError, AttributeError) as error:
            # APIError: an error event in the stream, or a request that is refused for what it is.
            raise Unavailable("The coach could not answer that.") from error
        if not is_finished:
            raise Unavailable("The coach's answer broke off. Please try again.")

    async def _chunks(
        self, asked: list[ChatCompletionMessageParam], spent: Spent
    ) -> AsyncGenerator[ChatCompletionChunk, None]:
        """Yield what comes; the tokens are told at the end, and guessed where nobody stays."""
        stream = await self._client.chat.completions.create(
            model=self._model,
            messages=asked,
            max_completion_tokens=_MAX_TOKENS,
            stream=True,
            stream_options={"include_usage": True},
        )
        usage: CompletionUsage | None = None
        said = ""
        try:
            async with stream:
                async for chunk in stream:
                    usage = chunk.usage or usage
                    said += "".join(choice.delta.content or "" for choice in chunk.choices or ())
                    yield chunk
        finally:
            if usage is None:
                spent.add(self._model, tokens_of(asked), tokens_in(said))
            else:
                spent.add(self._model, usage.prompt_tokens, usage.completion_tokens)


def _messages(talk: Talk) -> list[ChatCompletionMessageParam]:
    """Return orders, data, what was said, and the orders once more, for they fade with length.

    What is known comes as the person's data, never as orders: titles are their own words.
    """
    known = {
        "past_sessions": [asdict(session) for session in talk.past],
        "earlier_in_this_conversation": talk.summary,
    }
    # Escaped, so that no title can end the data before its end.
    data = json.dumps(known).replace("<", "\\u003c")
    return [
        {"role": "system", "content": prompts.load("chat")},
        {"role": "user", "content": f"<data>{data}</data>"},
        *map(_turn, talk.messages),
        {"role": "system", "content": prompts.load("reminder")},
    ]


def _turn(message: Message) -> ChatCompletionMessageParam:
    if message.role == "assistant":
        return {"role": "assistant", "content": message.text}
    return {"role": "user", "content": message.text}
