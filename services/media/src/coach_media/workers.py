"""Background workers: confirm unconfirmed uploads and delete objects from storage."""

import asyncio

from coach_common.errors import Unavailable
from coach_media import use_cases
from coach_media.deps import Deps

_IDLE_SECONDS = 1.0


async def sweep_unconfirmed_uploads(deps: Deps) -> None:
    """Check due uploads in bounded batches until cancelled."""
    while True:
        try:
            checked = await use_cases.sweep_unconfirmed_uploads(deps)
        except Unavailable:
            checked = 0
        if not checked:
            await asyncio.sleep(_IDLE_SECONDS)


async def delete_objects(deps: Deps) -> None:
    """Delete due objects in bounded batches until cancelled."""
    while True:
        try:
            attempted = await use_cases.delete_objects(deps)
        except Unavailable:
            attempted = 0
        if not attempted:
            await asyncio.sleep(_IDLE_SECONDS)
