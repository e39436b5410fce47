"""A short chaos run of the embedded profile. `make chaos` runs longer ones on both profiles."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path

import pytest
from stacks import RunningStack

from chaos.faults import all_faults, schedule_faults
from chaos.proxy import Proxy
from chaos.run import run
from chaos.system import System

KINDS = ("kill -9 of speech", "full disk")


@pytest.mark.slow
@pytest.mark.speech
async def test_embedded_system_keeps_its_promises_under_faults(tmp_path: Path) -> None:
    directory = tmp_path / "chaos" / "run"

    report = await run("embedded", 7, 0, directory=directory, kinds=KINDS, max_hold_seconds=1)

    assert report.violations == []
    assert "kill -9 of speech" in report.by_kind()
    assert report.with_recording >= 1
    assert not directory.parent.exists()


async def test_logs_of_a_failed_run_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @asynccontextmanager
    async def run_broken_system(profile: str, directory: Path) -> AsyncIterator[None]:
        directory.mkdir(parents=True)
        (directory.parent / f"{profile}.log").write_text("line")
        raise AssertionError("not ready")
        yield

    monkeypatch.setattr("chaos.run.run_system", run_broken_system)

    with pytest.raises(AssertionError):
        await run("embedded", 7, 0, directory=tmp_path / "chaos" / "run")

    assert f"logs: {tmp_path}/chaos" in capsys.readouterr().out
    assert (tmp_path / "chaos" / "embedded.log").read_text() == "line"


def test_every_cycle_has_each_kind_of_fault_once_in_an_order_of_the_seed(tmp_path: Path) -> None:
    proxies = {name: Proxy(name, "127.0.0.1", 1) for name in ("gateway", "store")}
    stack = RunningStack("embedded", ("http://127.0.0.1:1",), {})
    system = System(stack, tmp_path, proxies, has_own_disk=True)

    first, again, other = (
        [
            [fault.name for fault in cycle]
            for cycle in islice(schedule_faults(system, random.Random(seed)), 3)
        ]
        for seed in (1, 1, 2)
    )
    faults = all_faults(system)

    assert first == again != other
    assert {name for cycle in first for name in cycle} == {fault.name for fault in faults}
    kinds = sorted({fault.kind for fault in faults})
    assert all(sorted(name.split(":")[0] for name in cycle) == kinds for cycle in first)
