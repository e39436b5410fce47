"""An interviewer by OpenAI's API, or a compatible server. It words what the rules have decided."""

import json
from typing import Any

from openai.types.chat import ChatCompletionMessageParam

from coach_ai.interview.flow import Step
from coach_ai.interview.model import Turn, WordingMethod
from coach_ai.interview.rule_interviewer import TurnToWord
from coach_ai.openai import prompts
from coach_ai.openai.chat_completions import ChatCompletions, Request
from coach_ai.openai.client import (
    DEFAULT_TIMEOUT_SECONDS,
    RefusedByProvider,
    estimate_message_tokens,
    open_client,
)
from coach_ai.openai.provider_calls import InvalidResponse, ProviderCalls
from coach_ai.openai.thinking import remove_thinking
from coach_ai.scoring.answer_validation import strip_injections
from coach_ai.token_usage import TokenUsage
from coach_common.errors import Unavailable

MAX_TURN_SECONDS = 20.0
"""Deadline of one turn. The candidate waits for it, and the rules can word it at once."""

_MAX_TOKENS = 2000
"""Reasoning models use most of them before the first word."""
_MAX_TEXT_CHARACTERS = 4000
"""Of one message in the request. The end of a longer one is sent."""
_MAX_TRANSCRIPT_TURNS = 6
_DECLINED = "The AI provider declined to word this turn."
_TRUNCATED = "The AI provider's response was truncated."
_LEAK = "The AI provider's response quotes its instructions."


class OpenAIInterviewer:
    """An Interviewer over OpenAI's API, or a compatible server."""

    method = WordingMethod.LANGUAGE_MODEL

    def __init__(
        self,
        api_key: str,
        base_url: str | None,
        model: str,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        timeout_seconds = min(timeout_seconds, MAX_TURN_SECONDS)
        self._completions = ChatCompletions(
            open_client(api_key, base_url, timeout_seconds), base_url, model
        )
        self._calls = ProviderCalls("interview", timeout_seconds)
        self._guard = prompts.PromptLeakGuard("\n".join(map(prompts.load, prompts.INTERVIEW)))

    def max_tokens_needed(self, turn: TurnToWord) -> int:
        """Return the most tokens a turn can use."""
        return estimate_message_tokens(_build_messages(turn)) + _MAX_TOKENS

    async def word_turn(self, turn: TurnToWord, usage: TokenUsage) -> str:
        """Return the model's words, which the caller verifies.

        Raises:
            Unavailable: If the provider fails, declines, or quotes its instructions.
        """
        request = Request(tuple(_build_messages(turn)), _MAX_TOKENS)
        async with self._calls.call():
            try:
                completion = await self._completions.complete(request, usage)
            except RefusedByProvider as error:
                raise Unavailable(_DECLINED) from error
            if completion.refusal or completion.finish_reason == "content_filter":
                raise Unavailable(_DECLINED)
            if completion.finish_reason == "length":
                raise InvalidResponse(_TRUNCATED)
        text = remove_thinking(completion.text).strip()
        if self._guard.is_quoted_in(text):
            raise Unavailable(_LEAK)
        return text

    async def close(self) -> None:
        """Close the connections."""
        await self._completions.client.close()


def _build_messages(turn: TurnToWord) -> list[ChatCompletionMessageParam]:
    """Return instructions and data. Expected points are not sent, so they cannot be repeated."""
    interview, decision = turn.interview, turn.decision
    setup, plan = interview.setup, interview.plan
    described: dict[str, Any] = {
        "task": "follow_up" if decision.step is Step.FOLLOW_UP else "next_question",
        "ask": turn.asked,
        "quote": None if decision.gap is None else decision.gap.quote,
        "gap": None if decision.gap is None else decision.gap.subject,
        "answer": _clean(turn.message),
        "transcript": [
            _describe_turn(one, is_opening=one.number == 0)
            for one in turn.turns[-_MAX_TRANSCRIPT_TURNS:]
        ],
        "interviewer": {"manner": setup.persona.manner, "position": setup.persona.position},
        "role": _clean(setup.role),
        "company": _clean(setup.company),
        "wishes": _clean(setup.instructions),
        "level": setup.seniority,
        "plan": {
            "competences": plan.competences,
            "question": interview.question_number,
            "questions": len(plan.questions),
        },
    }
    # Escaped, so that a text cannot close the data tag.
    data = json.dumps(described, ensure_ascii=False).replace("<", "\\u003c")
    return [
        {"role": "system", "content": "\n".join(map(prompts.load, prompts.INTERVIEW))},
        {"role": "user", "content": f"<data>{data}</data>"},
    ]


def _describe_turn(turn: Turn, *, is_opening: bool) -> dict[str, str]:
    response = {"interviewer": _clean(turn.response)}
    return response if is_opening else {"candidate": _clean(turn.message), **response}


def _clean(text: str) -> str:
    """Return the end of a text, without sentences that instruct a model."""
    return strip_injections(text[-_MAX_TEXT_CHARACTERS:])
