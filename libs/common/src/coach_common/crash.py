"""Named points at which a fault drill may kill the process, as `kill -9` would."""

import os

_AT = os.environ.get("COACH_CRASH_AT")


def point(name: str) -> None:
    """Die here where COACH_CRASH_AT names this point; otherwise do nothing."""
    if _AT is not None and name == _AT:
        os._exit(137)
