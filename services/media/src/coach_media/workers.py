"""Background workers: confirm uploads, delete objects from storage, repair lost events."""

from functools import partial

from coach_common.batches import run_batches
from coach_media import deletions, exports, repair, retention, use_cases
from coach_media.deps import Deps

_IDLE_SECONDS = 1.0
_RETENTION_SECONDS = 5.0
_EXPORT_SECONDS = 60.0


async def sweep_unconfirmed_uploads(deps: Deps) -> None:
    """Check due uploads until cancelled."""
    sweep = partial(use_cases.sweep_unconfirmed_uploads, deps)
    await run_batches(sweep, idle_seconds=_IDLE_SECONDS)


async def delete_objects(deps: Deps) -> None:
    """Delete due objects until cancelled."""
    await run_batches(partial(deletions.delete_objects, deps), idle_seconds=_IDLE_SECONDS)


async def delete_due_audio(deps: Deps) -> None:
    """Delete the audio that is due until cancelled."""
    await run_batches(partial(retention.delete_due_audio, deps), idle_seconds=_RETENTION_SECONDS)


async def maintain_exports(deps: Deps) -> None:
    """Request missing parts again and delete expired exports until cancelled."""
    await run_batches(partial(exports.retry_and_expire, deps), idle_seconds=_EXPORT_SECONDS)


async def republish_untranscribed_uploads(deps: Deps) -> None:
    """Publish due uploads again, once per repair delay, until cancelled."""
    republish = partial(repair.republish_untranscribed_uploads, deps)
    await run_batches(republish, idle_seconds=deps.repair_delay.total_seconds())
