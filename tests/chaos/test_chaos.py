"""A short chaos run of the embedded profile. `make chaos` runs longer ones on both profiles."""

import random
from pathlib import Path

import pytest
from stacks import RunningStack

from chaos.faults import plan_faults
from chaos.proxy import Proxy
from chaos.run import run
from chaos.system import System


@pytest.mark.slow
@pytest.mark.speech
async def test_embedded_system_keeps_its_promises_under_faults(tmp_path: Path) -> None:
    report = await run("embedded", 7, 20, directory=tmp_path / "chaos" / "run")

    assert report.violations == []
    assert report.recoveries
    assert report.interviews >= 5


def test_seed_decides_the_schedule(tmp_path: Path) -> None:
    proxies = {name: Proxy(name, "127.0.0.1", 1) for name in ("gateway", "store")}
    stack = RunningStack("embedded", ("http://127.0.0.1:1",), {})
    system = System(stack, tmp_path, proxies, has_own_disk=True)

    first, again, other = (
        [fault.name for fault in plan_faults(system, random.Random(seed))] for seed in (1, 1, 2)
    )

    assert first == again != other
    assert sorted(first) == sorted(other)
