"""One running system for all attacks, its users, and the checks after every attack."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from attacker import PASSWORD, VICTIM_TRANSCRIPT, ApiUser, SsrfCanary, SystemUnderTest
from stacks import embedded

from coach_common.testing.harness import wait_until

_RELAXED_LIMITS = {
    "BCRYPT_COST": "4",
    "OPEN_REQUESTS_PER_MINUTE": "100000",
    "REQUESTS_PER_MINUTE": "100000",
    "CHATS_PER_MINUTE": "100000",
    "SWEEP_SECONDS": "1",
    "SOCKET_AUTH_TIMEOUT_SECONDS": "3",
    "HEADER_TIMEOUT_SECONDS": "3",
    "BODY_CHUNK_TIMEOUT_SECONDS": "3",
    "MAX_AUDIO_BYTES": str(4 * 2**20),
    "MAX_PENDING_UPLOADS": "40",
    "MAX_IN_FLIGHT_PER_CLIENT": "1000",
}
"""Relaxed limits, so that the load of one attack does not affect the next."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def target(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SystemUnderTest]:
    """The system under attack: all services in one process, as `make run` starts it."""
    directory = tmp_path_factory.mktemp("attacked")
    canary = SsrfCanary()
    listener = await asyncio.start_server(canary.hit, "127.0.0.1", 0)
    canary.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with listener, embedded(directory, **_RELAXED_LIMITS) as stack:
        yield SystemUnderTest(stack, directory, canary, {PASSWORD, VICTIM_TRANSCRIPT})


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def bob(target: SystemUnderTest) -> AsyncIterator[ApiUser]:
    """The victim, with a scored session and a conversation that no attack may change."""
    async with ApiUser(target) as bob:
        await bob.register()
        session_id = await bob.session(title="Bob's secret plan")
        await bob.call(
            "POST", f"/sessions/{session_id}/complete", json={"transcript": VICTIM_TRANSCRIPT}
        )
        await bob.call("POST", "/ai/chat", json={"message": "I am Bob and nervous."})

        async def is_scored() -> bool:
            feedback = await bob.call("GET", f"/sessions/{session_id}/feedback")
            return bool(feedback.json()["status"] == "ready")

        await wait_until(is_scored, description="Bob's feedback")
        yield bob


@pytest_asyncio.fixture(loop_scope="session")
async def alice(target: SystemUnderTest) -> AsyncIterator[ApiUser]:
    """The attacker, with a new account for each attack."""
    async with ApiUser(target) as alice:
        await alice.register()
        yield alice


@pytest_asyncio.fixture(loop_scope="session")
async def anonymous(target: SystemUnderTest) -> AsyncIterator[ApiUser]:
    """A client without an account, with a separate IP address."""
    async with ApiUser(target) as anonymous:
        yield anonymous


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def invariants(target: SystemUnderTest, bob: ApiUser) -> AsyncIterator[None]:
    """Assert after every attack: same processes, unchanged victim, no secret in a log."""
    pids, rows_digest = target.pids, target.user_rows_digest(bob.user_id)
    yield
    assert target.pids == pids
    assert target.user_rows_digest(bob.user_id) == rows_digest
    assert target.leaked_secrets() == set()
    assert target.canary.hits == 0
