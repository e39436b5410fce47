"""The same tests against both profiles. Each test is somebody else, so a module shares a stack."""

from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio
from stacks import RunningStack, distributed, embedded

from coach_embedded.api_client import ApiClient

_people = count(1)


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="session",
    params=["embedded", pytest.param("distributed", marks=pytest.mark.servers)],
)
async def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningStack]:
    """A running system of the module's own."""
    folder = tmp_path_factory.mktemp("stack")
    if request.param == "embedded":
        async with embedded(folder) as running:
            yield running
    else:
        mariadb = request.getfixturevalue("mariadb")
        rabbitmq = request.getfixturevalue("rabbitmq")
        async with distributed(folder, mariadb, rabbitmq) as running:
            yield running


@pytest_asyncio.fixture(loop_scope="session")
async def phone(stack: RunningStack) -> AsyncIterator[ApiClient]:
    """Somebody who has just registered."""
    async with ApiClient(stack.url, stack.socket_url) as phone:
        await phone.register(f"person{next(_people)}@example.com", "a long test password")
        yield phone
