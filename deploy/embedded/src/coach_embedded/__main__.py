"""`coach run`: run all services in one process until Ctrl-C."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from coach_common import logs, tracing
from coach_common.service import wait_for_shutdown
from coach_embedded.config import EmbeddedSettings, locked_data_dir
from coach_embedded.topology import run_system


def main(argv: Sequence[str]) -> int:
    """Run all services and print one line when they are ready."""
    if argv:
        print("usage: coach run   (settings are environment variables)", file=sys.stderr)
        return 2
    settings = EmbeddedSettings.load()
    logs.configure(level=settings.log_level, json=False)
    started_at = time.perf_counter()
    with locked_data_dir(settings.data_dir) as data_dir:
        tracing.configure(settings.otel_exporter_otlp_endpoint)
        try:
            uvloop.run(_serve(settings, data_dir, started_at))
        finally:
            tracing.shutdown()
    return 0


async def _serve(settings: EmbeddedSettings, data_dir: Path, started_at: float) -> None:
    async with run_system(settings, data_dir) as running:
        seconds = time.perf_counter() - started_at
        print(
            f"GenAI Coach is ready at {running.url} ({seconds:.1f} s). "
            f"API documentation: {running.url}/docs",
            flush=True,
        )
        await wait_for_shutdown()
        print("Stopping.", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
