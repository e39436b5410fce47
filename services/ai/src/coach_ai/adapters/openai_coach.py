"""Judgement and conversation by OpenAI: a strict schema, and nothing believed without its quote."""

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import openai
from openai.types.chat import ChatCompletionMessageParam
from prometheus_client import Histogram
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coach_ai import delivery
from coach_ai.adapters import prompts
from coach_ai.adapters.openai_chat import OpenAIChat
from coach_ai.adapters.openai_client import (
    PROVIDER,
    open_client,
    tokens_of,
    translated,
    usage_in,
)
from coach_ai.domain import (
    Answer,
    CannotJudge,
    Claim,
    Judgement,
    MainImprovement,
    Message,
    Talk,
    tokens_in,
)
from coach_ai.evidence import claim, find_quote
from coach_ai.no_answer import why_none, without_orders
from coach_ai.plain_text import clean
from coach_ai.rubric import Scores, load
from coach_ai.spending import Spent
from coach_common import logs
from coach_common.errors import Unavailable

log = logs.get_logger(__name__)

SECONDS = Histogram(
    "coach_ai_judge_request_seconds",
    "Time of one request for a judgement at OpenAI.",
    buckets=(0.5, 1, 2, 5, 10, 20, 40, 80, 120),
)

_TRIES = 3
_MAX_TOKENS = 4000
_MAX_CLAIMS = 6
_LONGEST_REMARK = 400
_LONGEST_SUMMARY = 2000

_LEFT_OUT = "What you said to whoever judges was left out."

Level = Annotated[int, Field(ge=1, le=5, strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class _Levels(_Strict):
    relevance: Level | None
    structure: Level | None
    specificity: Level | None
    reasoning: Level | None
    clarity: Level | None
    technical: Level | None


class _Claimed(_Strict):
    kind: Literal["strength", "improvement"]
    dimension: Literal["relevance", "structure", "specificity", "reasoning", "clarity", "technical"]
    text: str
    quote: str


class _Main(_Strict):
    text: str
    quote: str
    drill: str


class _Star(_Strict):
    """The parts of a story: each a quote, or null where it is missing."""

    situation: str | None
    task: str | None
    action: str | None
    result: str | None


class _Judged(_Strict):
    """What the model is asked to fill in."""

    cannot_judge: str | None
    levels: _Levels
    claims: list[_Claimed]
    main_improvement: _Main | None
    star: _Star | None
    summary: str


class OpenAICoach:
    """A Coach over OpenAI's API, or a server that speaks it."""

    def __init__(
        self, api_key: str, base_url: str | None, model: str, *, scorings: int = 1
    ) -> None:
        self._has_key = bool(api_key)
        self._client = open_client(api_key, base_url)
        self._model = model
        self._rubric = load()
        self._chat = OpenAIChat(self._client, model)
        self._scorings = scorings
        self._temperature: float | openai.Omit = 0.0

    def most_tokens(self, work: Answer | Talk) -> int:
        """Return the most that every scoring takes, or a reply."""
        if isinstance(work, Talk):
            return self._chat.most_tokens(work)
        schema = tokens_in(json.dumps(_Judged.model_json_schema()))
        return self._scorings * (tokens_of(self._messages(work)) + schema + _MAX_TOKENS)

    async def judge(self, answer: Answer, spent: Spent) -> Judgement:
        """Score as often as set, and return the scoring in the middle with the spread in words.

        What is no answer is not asked about. Sentences that give orders to the judge are not shown
        to it: a score can fall by what else stands in them, and not rise.
        """
        shown = replace(answer, text=without_orders(answer.text))
        if (reason := why_none(shown)) is not None:
            return self._judgement(answer, Scores(None, None, None, None), (), reason)
        # One after another: a provider that is down is not asked for the others.
        middle = _middle([await self._score(answer, shown, spent) for _ in range(self._scorings)])
        if shown.text == answer.text:
            return middle
        return replace(middle, detailed_feedback=f"{middle.detailed_feedback} {_LEFT_OUT}")

    async def _score(self, answer: Answer, shown: Answer, spent: Spent) -> Judgement:
        """Ask for levels and claims; drop claims that quote what was not said."""
        judged = await self._ask(shown, spent)
        claims = _kept(answer, judged.claims)
        levels: dict[str, int | None] = dict(judged.levels)
        levels["delivery"] = None
        summary = _clean(judged.summary, _LONGEST_SUMMARY)
        if judged.cannot_judge is not None:
            scores = Scores(None, None, None, None)
            summary = _clean(judged.cannot_judge, _LONGEST_SUMMARY) or summary
        elif not claims:
            scores = Scores(None, None, None, None)
            summary = "The answer was read, but no judgement of it stands on words that were said."
        else:
            scores = self._rubric.scores(levels, self._rubric.kind_of(answer.question))
        found = self._judgement(answer, scores, claims, summary)
        if scores.overall is None:
            return found
        return replace(
            found,
            main_improvement=_main(answer, judged.main_improvement),
            star=_star(answer, judged.star),
        )

    def _judgement(
        self, answer: Answer, scores: Scores, claims: tuple[Claim, ...], summary: str
    ) -> Judgement:
        return Judgement(
            overall_score=scores.overall,
            communication_score=scores.communication,
            technical_score=scores.technical,
            clarity_score=scores.clarity,
            claims=claims,
            detailed_feedback=summary,
            provider=PROVIDER,
            model=self._model,
            rubric_version=self._rubric.version,
            delivery=delivery.measure(answer),
            prompt_version=prompts.version(*prompts.JUDGE),
        )

    def reply(self, talk: Talk, spent: Spent) -> AsyncGenerator[str, None]:
        """Continue the conversation."""
        return self._chat.reply(talk, spent)

    async def summarise(
        self, summary: str, messages: Sequence[Message], spent: Spent, *, budget: int
    ) -> str:
        """Say what was said so far."""
        return await self._chat.summarise(summary, messages, spent, budget=budget)

    async def check(self) -> None:
        """Raise Unavailable without a key; the provider itself shows when it is used."""
        if not self._has_key:
            raise Unavailable("OPENAI_API_KEY is not set")

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    def _messages(self, answer: Answer) -> list[ChatCompletionMessageParam]:
        """Return orders and data: what a person said or wrote is a string of JSON, which no word
        of theirs can end."""
        given = {
            "question": without_orders(answer.question or answer.title),
            "rubric": {name: self._rubric.dimensions[name] for name in _Levels.model_fields},
            "transcript": answer.text,
        }
        return [
            {"role": "system", "content": prompts.load("judge")},
            {"role": "user", "content": json.dumps(given, ensure_ascii=False)},
        ]

    async def _ask(self, answer: Answer, spent: Spent) -> _Judged:
        """Return what the model filled in."""
        messages = self._messages(answer)
        for _ in range(_TRIES):
            try:
                with translated(), SECONDS.time():
                    raw = await self._client.chat.completions.with_raw_response.parse(
                        model=self._model,
                        messages=messages,
                        response_format=_Judged,
                        max_completion_tokens=_MAX_TOKENS,
                        temperature=self._temperature,
                    )
                    # Before it is read: an answer that was cut off or makes no sense is paid for.
                    spent.add(self._model, *usage_in(raw.text, messages))
                    completion = raw.parse()
            except (ValidationError, ValueError, AttributeError) as error:
                # AttributeError: the SDK met a body that is no JSON and took it for a completion.
                log.warning("openai.malformed", why=type(error).__name__)
                continue
            except openai.BadRequestError as error:
                # Reasoning models take no temperature but their own, and say so.
                if error.param == "temperature":
                    self._temperature = openai.omit
                    continue
                raise CannotJudge("The AI provider declined to judge this answer.") from error
            if not completion.choices:
                continue
            message = completion.choices[0].message
            if message.refusal:
                raise CannotJudge("The AI provider declined to judge this answer.")
            if message.parsed is not None:
                return message.parsed
        raise Unavailable("The AI provider's answers made no sense.")


def _middle(scorings: Sequence[Judgement]) -> Judgement:
    """Return the scoring in the middle, whole, so that its words fit its numbers.

    One without a score stands below all others; of an even number the lower one is taken.
    """
    ranked = sorted(scorings, key=lambda one: -1 if (n := one.overall_score) is None else n)
    middle = ranked[(len(ranked) - 1) // 2]
    scores = [one.overall_score for one in ranked if one.overall_score is not None]
    if len(ranked) == 1 or middle.overall_score is None:
        return middle
    spread = f"Scored {len(scores)} times, from {scores[0]} to {scores[-1]}; the middle one counts."
    return replace(middle, detailed_feedback=f"{middle.detailed_feedback} {spread}")


def _kept(answer: Answer, claimed: Sequence[_Claimed]) -> tuple[Claim, ...]:
    """Return the claims whose quote really stands in the transcript, in the transcript's words."""
    kept: list[Claim] = []
    for one in claimed[:_MAX_CLAIMS]:
        quote = find_quote(answer.text, one.quote)
        text = _clean(one.text, _LONGEST_REMARK)
        if quote is None or not text:
            log.info("openai.claim_dropped", dimension=one.dimension)
            continue
        kept.append(claim(answer, one.kind, one.dimension, text, quote))
    return tuple(kept)


def _main(answer: Answer, one: _Main | None) -> MainImprovement | None:
    """Return the main thing if it stands on words that were said."""
    quote = None if one is None else find_quote(answer.text, one.quote)
    if one is None or quote is None:
        return None
    text, drill = _clean(one.text, _LONGEST_REMARK), _clean(one.drill, _LONGEST_REMARK)
    return MainImprovement(text, quote, drill) if text and drill else None


def _star(answer: Answer, star: _Star | None) -> dict[str, str | None]:
    """Return each part with the words that tell it; a quote that was never said is no part."""
    parts = {} if star is None else star.model_dump()
    return {part: quote and find_quote(answer.text, quote) for part, quote in parts.items()}


def _clean(text: str, longest: int) -> str:
    return clean(text).strip()[:longest]
