"""One chaos run: load, faults in a seeded order, and the checks at the end."""

import asyncio
import random
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from chaos.checks import check_backlog, check_interviews, probe, read_repairs
from chaos.faults import plan_faults
from chaos.interviews import Load, Log
from chaos.system import System, new_directory, run_system

WARM_UP_SECONDS = 5.0
SETTLE_SECONDS = 150.0
RECOVERY_SECONDS = 120.0


@dataclass
class Recovery:
    """How long whole interviews took to succeed after a fault ended."""

    fault: str
    hold_seconds: float
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
    failed_requests: int = 0
    repairs: dict[str, float] = field(default_factory=dict)

    @property
    def has_passed(self) -> bool:
        return not self.violations

    def lines(self) -> list[str]:
        """Return the report as text."""
        return [
            f"profile {self.profile}, seed {self.seed}",
            f"{self.interviews} interviews ({self.with_recording} with a recording), "
            f"{self.samples} samples, {self.failed_requests} repeated requests, "
            f"repairs {self.repairs or 'none'}",
            *(
                f"{one.fault:32} {one.hold_seconds:5.1f} s   recovered in {one.seconds:5.1f} s"
                for one in self.recoveries
            ),
            *(f"VIOLATION {text}" for text in self.violations),
            "PASSED" if self.has_passed else f"FAILED: {len(self.violations)} violations",
        ]


async def run(profile: str, seed: int, seconds: float, *, directory: Path | None = None) -> Report:
    """Run the chaos of a profile and return its report. The seed decides the schedule."""
    directory = directory or new_directory()
    report = Report(profile, seed)
    log = Log()
    try:
        async with run_system(profile, directory) as system:
            load = Load(system, log, random.Random(seed))
            task = asyncio.create_task(load.run())
            try:
                await asyncio.sleep(WARM_UP_SECONDS)
                await _inject_faults(system, random.Random(seed), seconds, report, log)
                task.cancel()
                await system.heal()
                await load.finish(SETTLE_SECONDS)
                await check_interviews(log)
                await check_backlog(system, log)
                report.repairs = await read_repairs(system)
                _check_processes(system, log)
            finally:
                task.cancel()
                await load.close()
                _keep_logs(system, directory, log)
    finally:
        if not log.violations:
            shutil.rmtree(directory.parent, ignore_errors=True)
    report.violations = log.violations
    report.interviews = len(log.interviews)
    report.with_recording = sum(one.key is not None for one in log.interviews)
    report.samples, report.failed_requests = log.samples, log.failed_requests
    return report


async def _inject_faults(
    system: System, rng: random.Random, seconds: float, report: Report, log: Log
) -> None:
    deadline = time.monotonic() + seconds
    number = 0
    while True:
        for fault in plan_faults(system, rng):
            await asyncio.sleep(rng.uniform(0.5, 2.0))
            if time.monotonic() > deadline:
                return
            print(f"{fault.name}", flush=True)
            async with fault.act():
                await asyncio.sleep(fault.hold_seconds)
            number += 1
            try:
                async with asyncio.timeout(RECOVERY_SECONDS):
                    took = await probe(system, number)
            except TimeoutError:
                log.violate(f"no recovery within {RECOVERY_SECONDS:.0f} s after {fault.name}")
                return
            report.recoveries.append(Recovery(fault.name, fault.hold_seconds, took))
            print(f"    recovered in {took:.1f} s", flush=True)


def _check_processes(system: System, log: Log) -> None:
    for process in system.stack.processes.values():
        text = process.log_text()
        for event in ("worker.crashed", "relay.failed", "request.failed"):
            if event in text:
                log.violate(f"{process.name}: {event} in its log")


def _keep_logs(system: System, directory: Path, log: Log) -> None:
    """Copy the logs out of the small disk if there is something to find in them."""
    if log.violations:
        for file in directory.glob("*.log"):
            shutil.copy(file, directory.parent)
        print(f"logs: {directory.parent}", flush=True)
