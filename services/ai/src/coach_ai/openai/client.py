"""OpenAI's SDK: the client, the mapping of its errors, and token counts."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import openai
from openai.types.chat import ChatCompletionMessageParam

from coach_ai.domain import CannotScore, estimate_tokens
from coach_common import logs
from coach_common.errors import Unavailable

log = logs.get_logger(__name__)

PROVIDER = "openai"

_TIMEOUT_SECONDS = 120.0
_CONNECT_TIMEOUT_SECONDS = 5.0
_MAX_RETRIES = 2
_MAX_RETRY_AFTER_SECONDS = 3600
_DEFAULT_RETRY_AFTER_SECONDS = 5


def open_client(api_key: str, base_url: str | None) -> openai.AsyncOpenAI:
    """Return a client with our timeouts. The SDK's default timeout is ten minutes."""
    return openai.AsyncOpenAI(
        api_key=api_key or "missing",
        base_url=base_url,
        timeout=openai.Timeout(_TIMEOUT_SECONDS, connect=_CONNECT_TIMEOUT_SECONDS),
        max_retries=_MAX_RETRIES,
    )


def check_key(api_key: str) -> None:
    """Raise Unavailable if the key is empty."""
    if not api_key:
        raise Unavailable("OPENAI_API_KEY is not set")


@contextmanager
def map_openai_errors() -> Iterator[None]:
    """Map the SDK's errors to CoachErrors. Their message is logged, without request content.

    Timeouts, refused connections, 429 and 5xx become Unavailable. So do 401, 403 and 404, because
    an operator can correct the key or the model. A filtered answer becomes CannotScore. 400 is not
    mapped: its meaning depends on the request.
    """
    try:
        yield
    except (openai.LengthFinishReasonError, openai.APIResponseValidationError) as error:
        log.warning("openai.truncated")
        raise Unavailable("The AI provider's response was truncated.") from error
    except openai.ContentFilterFinishReasonError as error:
        raise CannotScore("The AI provider declined to score this answer.") from error
    except openai.APIStatusError as error:
        log.warning("openai.request_rejected", status=error.status_code, code=error.code)
        if error.status_code in (401, 403, 404):
            raise Unavailable(
                "The AI provider rejected our credentials.", retry_after_seconds=60
            ) from error
        if error.status_code == 400:
            raise
        raise Unavailable(
            "The AI provider is busy.", retry_after_seconds=_retry_after_seconds(error)
        ) from error
    except openai.APIConnectionError as error:
        log.warning("openai.unreachable", error=type(error).__name__)
        raise Unavailable("The AI provider is unavailable.") from error


def estimate_message_tokens(
    messages: Iterable[ChatCompletionMessageParam | Mapping[str, object]],
) -> int:
    """Return an upper estimate of the tokens of these messages."""
    return sum(estimate_tokens(str(message.get("content") or "")) for message in messages)


def read_usage(body: str, messages: Iterable[ChatCompletionMessageParam]) -> tuple[int, int]:
    """Return the input and output tokens that a response body reports.

    Works for responses that are invalid otherwise. Without a report the tokens are estimated,
    rather too high. A body that is not JSON counts as 0."""
    try:
        response = json.loads(body)
    except ValueError:
        return 0, 0
    try:
        usage = response["usage"]
        return max(0, int(usage["prompt_tokens"])), max(0, int(usage["completion_tokens"]))
    except (KeyError, TypeError, ValueError):
        return estimate_message_tokens(messages), estimate_tokens(body)


def _retry_after_seconds(error: openai.APIStatusError) -> int:
    text = error.response.headers.get("retry-after", "")
    if not text.isdigit():
        return _DEFAULT_RETRY_AFTER_SECONDS
    return min(_MAX_RETRY_AFTER_SECONDS, int(text))
