"""Background workers: confirm uploads, delete objects from storage, repair lost events."""

import asyncio

from coach_common.errors import Unavailable
from coach_media import deletions, repair, retention, use_cases
from coach_media.deps import Deps

_IDLE_SECONDS = 1.0
_RETENTION_SECONDS = 5.0


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
            attempted = await deletions.delete_objects(deps)
        except Unavailable:
            attempted = 0
        if not attempted:
            await asyncio.sleep(_IDLE_SECONDS)


async def delete_due_audio(deps: Deps) -> None:
    """Delete the audio that is due in bounded batches until cancelled."""
    while True:
        try:
            due = await retention.delete_due_audio(deps)
        except Unavailable:
            due = 0
        if not due:
            await asyncio.sleep(_RETENTION_SECONDS)


async def republish_untranscribed_uploads(deps: Deps) -> None:
    """Publish due uploads again in bounded batches, once per repair delay, until cancelled."""
    while True:
        try:
            due = await repair.republish_untranscribed_uploads(deps)
        except Unavailable:
            due = 0
        if not due:
            await asyncio.sleep(deps.repair_delay.total_seconds())
