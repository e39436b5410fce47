"""OpenAI's SDK: the client, the mapping of its errors, and token counts."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import openai
from openai.types.chat import ChatCompletionMessageParam

from coach_ai.domain import estimate_tokens
from coach_ai.openai.provider_calls import (
    NO_RESPONSE_MESSAGE,
    PROVIDER,
    ProviderDown,
    RequestRefused,
)
from coach_ai.openai.refusals import Reason, Refusal, read_error_body, read_refusal
from coach_common import logs
from coach_common.errors import Unavailable

__all__ = [
    "PROVIDER",
    "RefusedByProvider",
    "check_key",
    "estimate_message_tokens",
    "map_openai_errors",
    "open_client",
    "read_usage",
    "to_unavailable",
]

log = logs.get_logger(__name__)

DEFAULT_TIMEOUT_SECONDS = 120.0

_CONNECT_TIMEOUT_SECONDS = 5.0
_MAX_RETRIES = 2
_MAX_RETRY_AFTER_SECONDS = 3600
_BUSY_RETRY_SECONDS = 5
_MAX_RETRY_DELAY_SECONDS = 5
"""The longest delay between two attempts of one call. After a longer one the job is retried."""
_OPERATOR_RETRY_SECONDS = 60


class RefusedByProvider(Exception):
    """The provider refused a request. Adapters try a plainer form, or map it to a CoachError."""

    def __init__(self, refusal: Refusal, retry_after_seconds: int | None = None) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal
        self.retry_after_seconds = retry_after_seconds


def open_client(
    api_key: str, base_url: str | None, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
) -> openai.AsyncOpenAI:
    """Return a client with our timeouts. The SDK's default timeout is ten minutes."""
    return openai.AsyncOpenAI(
        api_key=api_key or "missing",
        base_url=base_url,
        timeout=openai.Timeout(timeout_seconds, connect=_CONNECT_TIMEOUT_SECONDS),
        max_retries=_MAX_RETRIES,
        http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [_limit_retry_delay]}),
    )


def check_key(api_key: str, base_url: str | None) -> None:
    """Raise Unavailable if the key is empty and the server is OpenAI. Other servers need none."""
    if not api_key and base_url is None:
        raise Unavailable("OPENAI_API_KEY is not set")


@contextmanager
def map_openai_errors() -> Iterator[None]:
    """Map the SDK's errors. The reason of a refusal is logged, without content of the request.

    Raises:
        ProviderDown: If the provider cannot be reached.
        RefusedByProvider: If it responded with an error.
    """
    try:
        yield
    except openai.APIStatusError as error:
        refusal = read_refusal(error.status_code, error.response.text)
        log.warning(
            "openai.request_rejected",
            status=refusal.status,
            reason=refusal.reason,
            features=sorted(refusal.features),
        )
        retry_after = _read_retry_after(error.response.headers)
        raise RefusedByProvider(refusal, retry_after) from error
    except openai.APITimeoutError as error:
        log.warning("openai.timed_out")
        raise ProviderDown(NO_RESPONSE_MESSAGE, "timeout", retry_after_seconds=30) from error
    except openai.APIConnectionError as error:
        log.warning("openai.unreachable", error=type(error).__name__)
        raise ProviderDown("The AI provider is unavailable.", "unreachable") from error
    except openai.APIError as error:
        # An error event in a stream.
        refusal = read_error_body(json.dumps({"error": error.body}, default=str))
        log.warning("openai.stream_failed", reason=refusal.reason)
        raise RefusedByProvider(refusal) from error


def to_unavailable(refused: RefusedByProvider) -> Unavailable:
    """Return the error for a refusal that is not about the user's words or file."""
    retry_after = refused.retry_after_seconds
    match refused.refusal.reason:
        case Reason.CREDENTIALS:
            return ProviderDown(
                "The AI provider rejected our credentials.",
                "credentials",
                retry_after_seconds=_OPERATOR_RETRY_SECONDS,
            )
        case Reason.MODEL:
            return ProviderDown(
                "The AI provider does not have the configured model.",
                "model",
                retry_after_seconds=_OPERATOR_RETRY_SECONDS,
            )
        case Reason.QUOTA:
            return ProviderDown(
                "The quota at the AI provider is used up.",
                "quota",
                retry_after_seconds=retry_after or _OPERATOR_RETRY_SECONDS,
            )
        case Reason.BUSY:
            return ProviderDown(
                "The AI provider is busy.",
                "busy",
                retry_after_seconds=retry_after or _BUSY_RETRY_SECONDS,
            )
        case Reason.TOO_LONG:
            return RequestRefused("This answer is too long for the AI provider.", "too_long")
        case _:
            return RequestRefused("The AI provider does not accept our settings.", "settings")


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
    except (ValueError, RecursionError):
        return 0, 0
    try:
        usage = response["usage"]
        return max(0, int(usage["prompt_tokens"])), max(0, int(usage["completion_tokens"]))
    except (KeyError, TypeError, ValueError):
        return estimate_message_tokens(messages), estimate_tokens(body)


async def _limit_retry_delay(response: Any) -> None:
    """Forbid the SDK to wait in the call for as long as the server asks, up to two minutes."""
    retry_after = _read_retry_after(response.headers)
    if retry_after is not None and retry_after > _MAX_RETRY_DELAY_SECONDS:
        response.headers["x-should-retry"] = "false"


def _read_retry_after(headers: Mapping[str, str]) -> int | None:
    """Return the delay that a response asks for in seconds, or None if it asks for none."""
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        else:
            seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    if not 0 <= seconds < math.inf:
        return None
    return min(_MAX_RETRY_AFTER_SECONDS, math.ceil(seconds))
