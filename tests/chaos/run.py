"""One chaos run: load, faults in a seeded order, and the checks at the end."""

import asyncio
import math
import random
import shutil
import statistics
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from chaos.checks import check_backlog, check_interviews, probe, read_repairs
from chaos.faults import Fault, FaultFailed, schedule_faults
from chaos.interviews import Load, Log
from chaos.system import System, new_directory, run_system

WARM_UP_SECONDS = 120.0
SETTLE_SECONDS = 150.0
RECOVERY_SECONDS = 120.0
FAULT_SECONDS = 150.0
"""The longest time for a fault to begin and end: a server may take 90 s to start again."""

_PAUSE_SECONDS = 1.0
"""The time between the recovery from a fault and the next fault."""

_BUGS = ("worker.crashed", "relay.failed", "request.failed", "job.crashed")
"""Log events of unexpected exceptions. No fault may cause one."""


@dataclass
class Recovery:
    """How long whole interviews took to succeed after a fault ended."""

    fault: Fault
    seconds: float


@dataclass
class Report:
    """The result of a run."""

    profile: str
    seed: int
    recoveries: list[Recovery] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    interviews: int = 0
    with_recording: int = 0
    samples: int = 0
    operations: int = 0
    failed_requests: int = 0
    repairs: dict[str, float] = field(default_factory=dict)

    @property
    def has_passed(self) -> bool:
        return not self.violations

    def by_kind(self) -> dict[str, list[float]]:
        """Return the recovery times of each kind of fault."""
        found: dict[str, list[float]] = {}
        for one in self.recoveries:
            found.setdefault(one.fault.kind, []).append(one.seconds)
        return dict(sorted(found.items()))

    def lines(self) -> list[str]:
        """Return the report as text."""
        times = [one.seconds for one in self.recoveries] or [0.0]
        return [
            f"profile {self.profile}, seed {self.seed}",
            f"{self.interviews} interviews ({self.with_recording} with a recording), "
            f"{self.operations} acknowledged requests, {self.failed_requests} repeated requests, "
            f"{self.samples} samples, repairs {self.repairs or 'none'}",
            *(
                f"{kind:34} {len(seconds):2} x   recovered in {statistics.median(seconds):5.1f} s,"
                f" at most {max(seconds):5.1f} s"
                for kind, seconds in self.by_kind().items()
            ),
            *(f"VIOLATION {text}" for text in self.violations),
            f"| {self.seed} | {self.profile} | {len(self.recoveries)} "
            f"| {statistics.median(times):.1f} s | {max(times):.1f} s | {self.operations} "
            f"| {self.interviews} | {'passed' if self.has_passed else 'failed'} |",
            "PASSED" if self.has_passed else f"FAILED: {len(self.violations)} violations",
        ]


async def run(
    profile: str,
    seed: int,
    seconds: float,
    *,
    directory: Path | None = None,
    kinds: Collection[str] | None = None,
    max_hold_seconds: float = math.inf,
) -> Report:
    """Run the chaos of a profile and return its report. The seed decides the schedule.

    The run ends after `seconds`, but not before each kind of fault has occurred. `kinds` limits it
    to these kinds, and no fault is active for longer than `max_hold_seconds`. The logs are kept,
    and their directory is printed, unless the run passes.
    """
    directory = directory or new_directory()
    report = Report(profile, seed)
    log = Log()
    has_passed = False
    try:
        async with run_system(profile, directory) as system:
            load = Load(system, log, random.Random(seed))
            task = asyncio.create_task(load.run())
            try:
                async with asyncio.timeout(WARM_UP_SECONDS):
                    await load.until_first_is_final()
                deadline = time.monotonic() + seconds
                for fault in _plan(system, random.Random(seed), deadline, kinds):
                    shorter = min(fault.hold_seconds, max_hold_seconds)
                    if not await _inject(system, replace(fault, hold_seconds=shorter), report, log):
                        break
                if task.done():
                    task.result()
                task.cancel()
                await system.heal()
                await load.finish(SETTLE_SECONDS)
                await check_backlog(system, log)
                await check_interviews(log)
                report.repairs = await read_repairs(system)
                _check_logs(system, log)
            finally:
                task.cancel()
                await load.close()
        has_passed = not log.violations
    finally:
        if has_passed:
            shutil.rmtree(directory.parent, ignore_errors=True)
        else:
            print(f"logs: {directory.parent}", flush=True)
    report.violations = log.violations
    report.interviews = len(log.interviews)
    report.with_recording = sum(one.key is not None for one in log.interviews)
    report.samples, report.failed_requests = log.samples, log.failed_requests
    report.operations = log.acknowledged_requests
    return report


def _plan(
    system: System, rng: random.Random, deadline: float, kinds: Collection[str] | None
) -> Iterator[Fault]:
    """Yield the faults until the deadline, and the whole first cycle."""
    for number, cycle in enumerate(schedule_faults(system, rng)):
        for fault in cycle:
            if number > 0 and time.monotonic() > deadline:
                return
            if kinds is None or fault.kind in kinds:
                yield fault


async def _inject(system: System, fault: Fault, report: Report, log: Log) -> bool:
    """Let a fault begin and end, and wait until interviews succeed. Return False if they do not."""
    await asyncio.sleep(_PAUSE_SECONDS)
    print(fault.name, flush=True)
    try:
        async with asyncio.timeout(FAULT_SECONDS), fault.act():
            await asyncio.sleep(fault.hold_seconds)
    except FaultFailed as error:
        log.violate(f"{fault.name}: {error}")
    except TimeoutError:
        log.violate(f"{fault.name}: it did not end within {FAULT_SECONDS:.0f} s")
        return False
    try:
        async with asyncio.timeout(RECOVERY_SECONDS):
            took = await probe(system, log, len(report.recoveries))
    except TimeoutError:
        log.violate(f"no recovery within {RECOVERY_SECONDS:.0f} s after {fault.name}")
        return False
    report.recoveries.append(Recovery(fault, took))
    print(f"    recovered in {took:.1f} s", flush=True)
    return True


def _check_logs(system: System, log: Log) -> None:
    for process in system.stack.processes.values():
        text = process.log_text()
        for event in _BUGS:
            if event in text:
                log.violate(f"{process.name}: {event} in its log")
