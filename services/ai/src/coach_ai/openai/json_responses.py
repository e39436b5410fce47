"""JSON in a model's response, without the wrapping that models and servers put around it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from coach_ai.openai.thinking import remove_thinking

_MAX_CHARACTERS = 200_000
_MAX_OBJECTS = 50


def parse_object(body: str) -> dict[str, Any] | None:
    """Return the JSON object that a response body consists of, or None."""
    try:
        parsed = json.loads(body.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def read_content(content: object) -> str:
    """Return the text of a message: a string, or a list of parts of which only texts count."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, Mapping) else part
        if isinstance(text, str):
            texts.append(text)
    return "".join(texts)


def find_objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects in a text that are not part of another one, in order.

    Byte order marks, code fences and prose around them are skipped.
    """
    text = remove_thinking(text[:_MAX_CHARACTERS])
    decoder = json.JSONDecoder()
    position = 0
    for _ in range(_MAX_OBJECTS):
        position = text.find("{", position)
        if position < 0:
            return
        try:
            found, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            position += 1
            continue
        if isinstance(found, dict):
            yield found
