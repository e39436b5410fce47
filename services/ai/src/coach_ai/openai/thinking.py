"""Thoughts of a reasoning model, which some servers return as part of the response."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

_TAGS = ("think", "thinking", "reasoning")
_BLOCK = re.compile(rf"<({'|'.join(_TAGS)})>.*?</\1>", re.DOTALL | re.IGNORECASE)
_END = re.compile(rf".*</({'|'.join(_TAGS)})>", re.DOTALL | re.IGNORECASE)
_BEGINNINGS = tuple(f"<{tag}>" for tag in _TAGS)


def remove_thinking(text: str) -> str:
    """Return the text without thoughts.

    Some templates put the opening tag into the prompt, so that the response has only the closing
    one.
    """
    return _END.sub("", _BLOCK.sub("", text))


async def skip_thinking(pieces: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Yield the pieces without a block of thoughts at their beginning."""
    held: str | None = ""
    async with aclosing(pieces):
        async for piece in pieces:
            if held is None:
                yield piece
                continue
            held += piece
            start = held.lstrip().lower()
            if any(tag.startswith(start[: len(tag)]) for tag in _BEGINNINGS):
                # It may be a tag, or is one: wait for its end.
                if _END.match(held) is None:
                    continue
                held = remove_thinking(held).lstrip()
            if held:
                yield held
                held = None
    if held and not held.lstrip().lower().startswith(_BEGINNINGS):
        yield held
