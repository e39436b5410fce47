"""Fixtures: each contract test runs with both transports."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from transports import TransportHarness, in_process, rabbitmq

from coach_common.testing.servers import PrivateRabbitMQ


@pytest.fixture(params=["in process", pytest.param("rabbitmq", marks=pytest.mark.servers)])
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TransportHarness]:
    async with AsyncExitStack() as stack:
        if request.param == "in process":
            made = await in_process(tmp_path, stack)
        else:
            server: PrivateRabbitMQ = request.getfixturevalue("rabbitmq")
            made = rabbitmq(server, stack.enter_context(server.vhost()))
        yield made
        for transport in list(made.running):
            await made.stop(transport)
