"""Named points at which a fault drill may kill the process, as `kill -9` would."""

import os

_ACTIVE_CRASH_POINT = os.environ.get("COACH_CRASH_AT")


def crash_point(name: str) -> None:
    """Die here where COACH_CRASH_AT names this point; otherwise do nothing."""
    if _ACTIVE_CRASH_POINT is not None and name == _ACTIVE_CRASH_POINT:
        os._exit(137)
