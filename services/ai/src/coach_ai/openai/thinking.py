"""Thoughts of a reasoning model, which some servers return as part of the response.

The time grows linearly with the length of the text: a model may return anything.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

_TAGS = ("think", "thinking", "reasoning")
_TAG = re.compile(rf"<(/?)(?:{'|'.join(_TAGS)})>", re.IGNORECASE)
_END = re.compile(rf"</(?:{'|'.join(_TAGS)})>", re.IGNORECASE)
_BEGINNINGS = tuple(f"<{tag}>" for tag in _TAGS)
_MAX_TAG_CHARACTERS = max(map(len, _TAGS)) + len("</>")


def remove_thinking(text: str) -> str:
    """Return the text without thoughts.

    Some templates put the opening tag into the prompt, so that the response has only the closing
    one. A block without an end is kept.
    """
    kept: list[str] = []
    position, opened_at = 0, None
    for tag in _TAG.finditer(text):
        if tag[1]:
            kept = kept if opened_at is not None else []
            position, opened_at = tag.end(), None
        elif opened_at is None:
            kept.append(text[position : tag.start()])
            opened_at = tag.start()
    kept.append(text[position if opened_at is None else opened_at :])
    return "".join(kept)


async def skip_thinking(pieces: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Yield the pieces without a block of thoughts at their beginning."""
    held: str | None = ""
    async with aclosing(pieces):
        async for piece in pieces:
            if held is None:
                yield piece
                continue
            held += piece
            start = held.lstrip()[:_MAX_TAG_CHARACTERS].lower()
            if any(tag.startswith(start[: len(tag)]) for tag in _BEGINNINGS):
                # It may be a tag, or is one: wait for its end, which may be split into pieces.
                if _END.search(held, max(0, len(held) - len(piece) - _MAX_TAG_CHARACTERS)) is None:
                    continue
                held = remove_thinking(held).lstrip()
            if held:
                yield held
                held = None
    if held and not held.lstrip().lower().startswith(_BEGINNINGS):
        yield held
