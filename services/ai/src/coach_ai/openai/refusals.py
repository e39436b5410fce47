"""Why a provider refused a request, read from the status and the body of its response.

Servers that are compatible with OpenAI share the shape of an error, not its codes. A status of 400
can mean that a parameter is unknown to the server, that the context is too small, or that a content
filter refused the text. The reason decides whether the request is sent in a plainer form, waits for
an operator, or has failed for good.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_MAX_BODY_CHARACTERS = 20_000
_MAX_WORDS_CHARACTERS = 2000
_MAX_DEPTH = 6


class Reason(StrEnum):
    """Why a request was refused."""

    CREDENTIALS = "credentials"
    MODEL = "model"
    """The server has no such model or path."""
    QUOTA = "quota"
    BUSY = "busy"
    """Overloaded or failing. The same request may succeed later."""
    TOO_LONG = "too_long"
    """The request exceeds the context or the file size of the server."""
    REQUEST = "request"
    """The server does not accept the form of the request."""
    CONTENT = "content"
    """A content filter refused the user's words."""
    FILE = "file"
    """The server cannot read the file."""
    TOO_SHORT = "too_short"
    """The audio is too short."""


class Feature(StrEnum):
    """A part of a request that some servers do not accept."""

    RESPONSE_FORMAT = "response_format"
    TOKEN_LIMIT = "token_limit"  # noqa: S105 # the name of a parameter
    TEMPERATURE = "temperature"
    STREAM_OPTIONS = "stream_options"
    SYSTEM_ROLE = "system_role"
    WORD_TIMES = "word_times"
    PROMPT = "prompt"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was refused, and the features that the response names as unsupported."""

    status: int
    reason: Reason
    features: frozenset[Feature] = frozenset()


_CONTENT_CODES = frozenset(
    ("content_filter", "content_policy_violation", "responsibleaipolicyviolation", "invalid_prompt",
     "moderation_blocked", "content_filtered", "data_inspection_failed", "safety")
)  # fmt: skip
_CONTENT = re.compile(
    r"content (management|filter|policy|moderation)|usage polic|safety (system|filter)"
    r"|\bmoderation\b|\bflagged\b"
)
_QUOTA_CODES = frozenset(
    ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_funds",
     "credit_balance_exhausted", "organization_spend_limit_exceeded",
     "project_spend_limit_exceeded", "organization_usage_limit_exceeded")
)  # fmt: skip
_TOO_LONG_CODES = frozenset(
    ("context_length_exceeded", "exceed_context_size_error", "string_above_max_length")
)
_TOO_LONG = re.compile(
    r"context (size|length|window)|(prompt|input|request|file) is too (long|large)"
    r"|maximum (context|(input|prompt) length|file ?size|model length)|too many tokens"
    r"|longer than (the maximum|\d)|duration .{0,40}exceed|reduce the length|max_model_len"
    r"|max_tokens must be at least 1, got -"
)
_TOO_SHORT = re.compile(r"audio(_| )(file )?(is )?too(_| )short|shorter than the minimum")
_FILE = re.compile(
    r"(invalid|unsupported|unrecogni[sz]ed|corrupted).{0,40}\b(file|audio|format|media)\b"
    r"|could not (be )?(decode|read|process)|(failed|unable) to (decode|load|read|open)"
    r"|file.{0,40}(corrupted|unsupported|not supported|cannot be (read|decoded))"
)
_AUDIO = re.compile(r"\b(audio|media)\b")
"""In the error of a failing server. Without it the server may have failed to load its model."""
_UNSUPPORTED = re.compile(r"not (supported|implemented)|unsupported|does not support")
_MODEL_CODES = frozenset(("model_not_found", "not_found_error", "model_not_available"))
_MODEL = re.compile(r"model .{0,80}(not found|does not exist|not loaded|not available)")
_FEATURES: Mapping[Feature, re.Pattern[str]] = {
    Feature.TEMPERATURE: re.compile(r"\btemperature\b"),
    Feature.TOKEN_LIMIT: re.compile(r"\bmax_(completion_|output_|new_)?tokens\b"),
    Feature.RESPONSE_FORMAT: re.compile(
        r"\bresponse_?format|json_?schema|json_?object|json mode|structured[ _]output"
        r"|\bguided|\bgrammar\b|\bschema\b"
    ),
    Feature.STREAM_OPTIONS: re.compile(r"\bstream_options\b|\binclude_usage\b"),
    Feature.SYSTEM_ROLE: re.compile(
        r"\bsystem['\"]? (role|message|prompt)|role.{0,40}\bsystem\b|roles must alternate"
        r"|developer instruction"
    ),
    Feature.WORD_TIMES: re.compile(r"timestamp_granularit|verbose_json|\bresponse_?format"),
    Feature.PROMPT: re.compile(r"(^|['\"`\s])prompt['\"`]? (is not|field|parameter)|'prompt'"),
}

_TEXT_KEYS = frozenset(("message", "msg", "detail", "error", "title", "type", "code", "param"))
_NESTED_KEYS = _TEXT_KEYS | {"innererror", "inner_error", "loc", "errors", "metadata", "raw"}
"""Servers repeat the request in other keys, such as `input`: the user's words prove nothing."""
_ECHO = re.compile(r"['\"](input|ctx|body|messages)['\"]\s*:")


def read_refusal(status: int, body: str) -> Refusal:
    """Return why a request was refused. `status` is 200 for an error inside a success."""
    found = list(_list_texts(_parse(body), 0))
    codes = {text for key, text in found if key in ("type", "code", "param")}
    words = " ".join(text for _, text in found)[:_MAX_WORDS_CHARACTERS]
    features = frozenset(feature for feature, pattern in _FEATURES.items() if pattern.search(words))
    reason = _read_reason(status, codes, words, features)
    return Refusal(status, reason, features if reason is Reason.REQUEST else frozenset())


def read_error_body(body: str) -> Refusal:
    """Return why a request was refused whose response has the status 200 and an error as its body.

    Some servers put the status into the error.
    """
    status = 200
    parsed = _parse(body)
    error = parsed.get("error") if isinstance(parsed, Mapping) else None
    code = error.get("code") if isinstance(error, Mapping) else None
    if isinstance(code, str) and code.isdigit():
        code = int(code)
    if isinstance(code, int) and 400 <= code < 600:
        status = code
    return read_refusal(status, body)


def _read_reason(status: int, codes: set[str], words: str, features: frozenset[Feature]) -> Reason:
    if codes & _CONTENT_CODES or (status in (200, 400, 403, 422) and _CONTENT.search(words)):
        return Reason.CONTENT
    if status in (401, 403):
        return Reason.CREDENTIALS
    if status == 402 or codes & _QUOTA_CODES:
        return Reason.QUOTA
    if status in (408, 409, 425, 429):
        return Reason.BUSY
    if status == 413 or codes & _TOO_LONG_CODES or _TOO_LONG.search(words):
        return Reason.TOO_LONG
    if _TOO_SHORT.search(words):
        return Reason.TOO_SHORT
    if status == 404 or codes & _MODEL_CODES or _MODEL.search(words):
        # A router reports that no model has a feature with 404, too.
        return Reason.REQUEST if features and status == 404 else Reason.MODEL
    if not features and _FILE.search(words) and (status < 500 or _AUDIO.search(words)):
        return Reason.FILE
    if 400 <= status < 500 or features or _UNSUPPORTED.search(words):
        return Reason.REQUEST
    return Reason.BUSY


def _parse(body: str) -> Any:
    try:
        return json.loads(body[:_MAX_BODY_CHARACTERS])
    except (ValueError, RecursionError):
        return {"message": "" if body.lstrip().startswith("<") else body[:_MAX_WORDS_CHARACTERS]}


def _list_texts(value: Any, depth: int, key: str = "message") -> Iterator[tuple[str, str]]:
    """Yield the texts that describe the error, in lower case, with their keys."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, str):
        yield key, _ECHO.split(value, maxsplit=1)[0].strip().lower()
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name in _NESTED_KEYS:
                yield from _list_texts(inner, depth + 1, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _list_texts(inner, depth + 1, key)
