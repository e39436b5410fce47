"""OpenAI's SDK: one client, and what its errors mean to us."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import openai

from coach_ai.domain import CannotJudge, tokens_in
from coach_common import logs
from coach_common.errors import Unavailable

log = logs.get_logger(__name__)

PROVIDER = "openai"

_SECONDS = 120.0
_RETRIES = 2
_LONGEST_PAUSE_SECONDS = 3600


def open_client(api_key: str, base_url: str | None) -> openai.AsyncOpenAI:
    """Return a client with bounds of ours: the SDK's own time-out is ten minutes."""
    return openai.AsyncOpenAI(
        api_key=api_key or "missing",
        base_url=base_url,
        timeout=openai.Timeout(_SECONDS, connect=5.0),
        max_retries=_RETRIES,
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn the SDK's errors into ours; what it says stays in the log, without the content.

    Time-outs, refused connections, 429 and 5xx may work later, and so may a wrong key or model
    once somebody has mended the settings. A filtered answer will not.
    """
    try:
        yield
    except (openai.LengthFinishReasonError, openai.APIResponseValidationError) as error:
        log.warning("openai.cut_off")
        raise Unavailable("The AI provider's answer was cut off.") from error
    except openai.ContentFilterFinishReasonError as error:
        raise CannotJudge("The AI provider declined to judge this answer.") from error
    except openai.APIStatusError as error:
        log.warning("openai.refused", status=error.status_code, code=error.code)
        if error.status_code in (401, 403, 404):
            raise Unavailable(
                "The AI provider does not accept our settings.", retry_after_seconds=60
            ) from error
        if error.status_code == 400:
            raise
        raise Unavailable(
            "The AI provider is busy.", retry_after_seconds=_retry_after(error)
        ) from error
    except openai.APIConnectionError as error:
        log.warning("openai.away", why=type(error).__name__)
        raise Unavailable("The AI provider is away.") from error


def tokens_of(messages: Iterable[Any]) -> int:
    """Return about how many tokens these messages are, rather too many."""
    return sum(tokens_in(str(message.get("content") or "")) for message in messages)


def usage_in(body: str, messages: Iterable[Any]) -> tuple[int, int]:
    """Return the tokens in and out that an answer says it took, whatever else is wrong with it.

    A server that does not say is counted, rather too high; what is no JSON took nothing.
    """
    try:
        answer = json.loads(body)
    except ValueError:
        return 0, 0
    try:
        usage = answer["usage"]
        return max(0, int(usage["prompt_tokens"])), max(0, int(usage["completion_tokens"]))
    except (KeyError, TypeError, ValueError):
        return tokens_of(messages), tokens_in(body)


def _retry_after(error: openai.APIStatusError) -> int:
    text = error.response.headers.get("retry-after", "")
    return min(_LONGEST_PAUSE_SECONDS, int(text)) if text.isdigit() else 5
