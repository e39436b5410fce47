"""What media does on its own: looking for uploads nobody confirmed, removing objects."""

import asyncio

from coach_common.errors import Unavailable
from coach_media import use_cases
from coach_media.deps import Deps

_IDLE_SECONDS = 1.0


async def sweep(deps: Deps) -> None:
    """Look for what is due, a bounded batch at a time."""
    while True:
        try:
            looked = await use_cases.sweep(deps)
        except Unavailable:
            looked = 0
        if not looked:
            await asyncio.sleep(_IDLE_SECONDS)


async def remove_objects(deps: Deps) -> None:
    """Remove what is to be removed, a bounded batch at a time."""
    while True:
        try:
            tried = await use_cases.remove_objects(deps)
        except Unavailable:
            tried = 0
        if not tried:
            await asyncio.sleep(_IDLE_SECONDS)
