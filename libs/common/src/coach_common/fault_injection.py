"""Named points at which a fault drill can kill the process, as `kill -9` would.

COACH_CRASH_AT is undocumented on purpose. `Settings.load` rejects it if ENVIRONMENT=production.
"""

import os

CRASH_POINT_VARIABLE = "COACH_CRASH_AT"

_ACTIVE_CRASH_POINT = os.environ.get(CRASH_POINT_VARIABLE)


def crash_point(name: str) -> None:
    """Kill the process if COACH_CRASH_AT names this point."""
    if _ACTIVE_CRASH_POINT is not None and name == _ACTIVE_CRASH_POINT:
        os._exit(137)
