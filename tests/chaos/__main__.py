"""Command line of `make chaos`. Exits with 1 if a check failed on any profile."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from chaos.run import run

_PROFILES = ("embedded", "distributed")


def main() -> int:
    """Run the chaos of each profile and print the reports."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("profiles", nargs="+", choices=_PROFILES, metavar="PROFILE")
    parser.add_argument("--seed", type=int, default=1, help="decides the order of the faults")
    parser.add_argument("--minutes", type=float, default=3.0, help="duration of the faults")
    options = parser.parse_args()
    return asyncio.run(run_all(options.profiles, options.seed, options.minutes))


async def run_all(profiles: Sequence[str], seed: int, minutes: float) -> int:
    """Run the profiles one after the other. SIGTERM stops everything, as Ctrl-C does."""
    has_passed = True
    for profile in profiles:
        task = asyncio.create_task(run(profile, seed, minutes * 60))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        report = await task
        print("\n".join(["", *report.lines()]), flush=True)
        has_passed = has_passed and report.has_passed
    return 0 if has_passed else 1


if __name__ == "__main__":
    sys.exit(main())
