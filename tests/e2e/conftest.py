"""Fixtures that run each test on both profiles. Tests of a module share a stack."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest
import pytest_asyncio
from stacks import RunningStack, distributed, embedded

from coach_embedded.api_client import ApiClient
from support.collector import Collector, run_collector
from support.connections import ConnectionWatch

_user_numbers = count(1)


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """The collector of the modules that set EXPORTS_SPANS."""
    with run_collector() as running:
        yield running


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="session",
    params=["embedded", pytest.param("distributed", marks=pytest.mark.servers)],
)
async def stack(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    collector: Collector,
) -> AsyncIterator[RunningStack]:
    """The running system of a module, with its ENVIRONMENT.

    It exports spans if the module sets EXPORTS_SPANS.
    The embedded system must not connect to other machines, from its start to its stop.
    """
    directory = tmp_path_factory.mktemp("stack")
    env = dict(getattr(request.module, "ENVIRONMENT", {}))
    if getattr(request.module, "EXPORTS_SPANS", False):
        env |= collector.environment
    if request.param == "embedded":
        watch = ConnectionWatch(directory / "watch")
        async with embedded(directory, **watch.environment, **env) as running:
            process = running.processes["embedded"].running
            assert process is not None
            polling = asyncio.create_task(watch.poll(process.pid))
            yield running
            polling.cancel()
        assert "127.0.0.1" in watch.hosts
        assert watch.foreign_hosts == set(), "a process connected to another machine"
    else:
        mariadb = request.getfixturevalue("mariadb")
        rabbitmq = request.getfixturevalue("rabbitmq")
        async with distributed(directory, mariadb, rabbitmq, **env) as running:
            yield running


@pytest_asyncio.fixture(loop_scope="session")
async def client(stack: RunningStack) -> AsyncIterator[ApiClient]:
    """The client of a new user."""
    async with ApiClient(stack.url, stack.socket_url) as client:
        await client.register(f"person{next(_user_numbers)}@example.com", "a long test password")
        yield client
