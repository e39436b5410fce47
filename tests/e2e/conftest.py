"""The same tests against both profiles."""

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from stacks import Stack, distributed, embedded

from coach_embedded.phone import Phone

_people = count(1)


@pytest.fixture(params=["embedded", pytest.param("distributed", marks=pytest.mark.servers)])
async def stack(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stack]:
    """A running system of the test's own."""
    if request.param == "embedded":
        async with embedded(tmp_path) as running:
            yield running
    else:
        mariadb = request.getfixturevalue("mariadb")
        rabbitmq = request.getfixturevalue("rabbitmq")
        async with distributed(tmp_path, mariadb, rabbitmq) as running:
            yield running


@pytest.fixture
async def phone(stack: Stack) -> AsyncIterator[Phone]:
    """Somebody who has just registered."""
    async with Phone(stack.url, stack.socket_url) as phone:
        await phone.register(f"person{next(_people)}@example.com", "a long test password")
        yield phone
