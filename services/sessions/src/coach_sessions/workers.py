"""Background workers: give up recordings that will not arrive, and repair lost events."""

import asyncio

from coach_common.errors import Unavailable
from coach_sessions import repair, use_cases
from coach_sessions.deps import Deps

_INTERVAL_SECONDS = 60.0


async def stop_waiting_for_recordings(deps: Deps) -> None:
    """Run the use case in bounded batches, once per minute, until cancelled."""
    while True:
        try:
            changed = await use_cases.stop_waiting_for_recordings(deps)
        except Unavailable:
            changed = 0
        if not changed:
            await asyncio.sleep(_INTERVAL_SECONDS)


async def publish_stalled_sessions(deps: Deps) -> None:
    """Publish stalled sessions in bounded batches, once per repair delay, until cancelled."""
    while True:
        try:
            due = await repair.publish_stalled_sessions(deps)
        except Unavailable:
            due = 0
        if not due:
            await asyncio.sleep(deps.repair_delay.total_seconds())
