"""What a child process gives up before it reads a file of a user."""

import ctypes
import resource
import signal
import sys
from collections.abc import Mapping

_INHERITED = frozenset(
    ("PATH", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHASHSEED")
)
_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def inherit_environment(
    environment: Mapping[str, str], *, prefixes: tuple[str, ...] = ()
) -> dict[str, str]:
    """Return the variables that such a child gets: no key, token or URL.

    Variables whose name begins with one of `prefixes` are added.
    """
    return {
        name: value
        for name, value in environment.items()
        if name in _INHERITED or (prefixes and name.startswith(prefixes))
    }


def exit_with_parent() -> None:
    """Have the kernel end this process when its parent ends, on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def leave_network() -> bool:
    """Move to a network namespace without interfaces. Return whether the system allows it."""
    if sys.platform != "linux":
        return False
    unshare = getattr(ctypes.CDLL(None), "unshare", None)
    return unshare is not None and (
        unshare(_CLONE_NEWNET) == 0 or unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0
    )


def limit_resources(*, memory_bytes: int, open_files: int, file_bytes: int) -> None:
    """Limit the memory, open files and written files of this process. Forbid core dumps."""
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_NOFILE, open_files),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
