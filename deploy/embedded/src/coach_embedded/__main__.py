"""`coach run`: run all services in one process until Ctrl-C."""

import time
from pathlib import Path

import uvloop

from coach_common import logs, tracing
from coach_common.cli import function_command
from coach_common.service import wait_for_shutdown
from coach_embedded.config import EmbeddedSettings, locked_data_dir
from coach_embedded.topology import run_system


def run() -> None:
    """Run all services in this process until Ctrl-C.

    Settings are environment variables, such as PORT and DATA_DIR. A line is printed when all
    services are ready.
    """
    settings = EmbeddedSettings.load()
    logs.configure(level=settings.log_level, json=False)
    started_at = time.perf_counter()
    with locked_data_dir(settings.data_dir) as data_dir:
        tracing.configure(settings.otel_exporter_otlp_endpoint)
        try:
            uvloop.run(_serve(settings, data_dir, started_at))
        finally:
            tracing.shutdown()


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


main = function_command("run", run, example="PORT=8001 coach run")

if __name__ == "__main__":
    raise SystemExit(main())
