"""`coach run`: everything in one process until Ctrl-C."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from coach_common import logs
from coach_common.service import wait_for_shutdown
from coach_embedded.config import EmbeddedSettings, locked_data_dir
from coach_embedded.topology import run_system


def main(argv: Sequence[str]) -> int:
    """Serve; print one line when ready."""
    if argv:
        print("usage: coach run   (settings come from the environment)", file=sys.stderr)
        return 2
    settings = EmbeddedSettings.load()
    logs.configure(level=settings.log_level, json=False)
    began = time.perf_counter()
    with locked_data_dir(settings.data_dir) as folder:
        uvloop.run(_serve(settings, folder, began))
    return 0


async def _serve(settings: EmbeddedSettings, folder: Path, began: float) -> None:
    async with run_system(settings, folder) as running:
        seconds = time.perf_counter() - began
        print(
            f"GenAI Coach is ready at {running.url} ({seconds:.1f} s); its API: {running.url}/docs",
            flush=True,
        )
        await wait_for_shutdown()
        print("Stopping.", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
