"""Command line: `python -m chaos PROFILE SEED MINUTES`. Exits with 1 if a check failed."""

import asyncio
import signal
import sys

from chaos.run import run


async def main(profile: str, seed: int, minutes: float) -> int:
    """Run the chaos and print its report. SIGTERM ends it as Ctrl-C does."""
    task = asyncio.create_task(run(profile, seed, minutes * 60))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    report = await task
    print("\n" + "\n".join(report.lines()))
    return 0 if report.has_passed else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
