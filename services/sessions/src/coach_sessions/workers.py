"""Background workers: give up recordings that will not arrive, and repair lost events."""

from functools import partial

from coach_common.batches import run_batches
from coach_sessions import repair
from coach_sessions.deps import Deps

_INTERVAL_SECONDS = 60.0


async def stop_waiting_for_recordings(deps: Deps) -> None:
    """Run the use case once per minute, until cancelled."""
    stop_waiting = partial(repair.stop_waiting_for_recordings, deps)
    await run_batches(stop_waiting, idle_seconds=_INTERVAL_SECONDS)


async def publish_stalled_sessions(deps: Deps) -> None:
    """Publish stalled sessions once per repair delay, until cancelled."""
    publish = partial(repair.publish_stalled_sessions, deps)
    await run_batches(publish, idle_seconds=deps.repair_delay.total_seconds())
