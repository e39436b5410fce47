"""Background worker: sessions stop waiting for recordings that will not arrive."""

import asyncio

from coach_common.errors import Unavailable
from coach_sessions import use_cases
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
