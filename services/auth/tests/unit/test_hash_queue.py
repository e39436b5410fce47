"""The order of password hashes, and which one a full queue drops."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from coach_auth.hash_queue import HashOwner, HashQueue
from coach_common.errors import Unavailable


class QueueHarness:
    """A queue whose single thread is busy until `open_gate`; records the order of the rest."""

    def __init__(self, *, max_waiting: int = 4, threads: int = 1) -> None:
        self.executor = ThreadPoolExecutor(threads)
        self.queue = HashQueue(self.executor, threads=threads, max_waiting=max_waiting)
        self.order: list[str] = []
        self._gate = threading.Event()
        self._blockers = [
            asyncio.create_task(self.queue.run(_login(f"blocker {n}"), self._gate.wait))
            for n in range(threads)
        ]

    async def add(self, name: str, owner: HashOwner) -> "asyncio.Task[None]":
        task = asyncio.create_task(self.queue.run(owner, lambda: self.order.append(name)))
        await asyncio.sleep(0)
        return task

    async def open_gate(self, *tasks: "asyncio.Task[None]") -> list[str]:
        self._gate.set()
        await asyncio.gather(*self._blockers, *tasks)
        return self.order

    def close(self) -> None:
        self._gate.set()
        self.executor.shutdown()


@pytest.fixture
async def harness() -> AsyncIterator[QueueHarness]:
    made = QueueHarness()
    await asyncio.sleep(0)
    yield made
    made.close()


def _login(address: str, account: str | None = None) -> HashOwner:
    return HashOwner.login(client_ip=address, account=account or f"account of {address}")


def _registration(address: str) -> HashOwner:
    return HashOwner.registration(client_ip=address, account=f"new at {address}")


async def test_logins_go_before_registrations_and_changes(harness: QueueHarness) -> None:
    tasks = [
        await harness.add("registration", _registration("a")),
        await harness.add("change", HashOwner.change(account="b")),
        await harness.add("login", _login("c")),
    ]

    assert (await harness.open_gate(*tasks))[0] == "login"


async def test_registration_waits_for_at_most_three_logins(harness: QueueHarness) -> None:
    tasks = [await harness.add("registration", _registration("r"))]
    tasks += [await harness.add(f"login {n}", _login(f"address {n}")) for n in range(3)]

    # The blocker was a login as well, so the fourth turn is the registration's.
    assert (await harness.open_gate(*tasks)).index("registration") == 2


async def test_addresses_take_turns(harness: QueueHarness) -> None:
    tasks = [await harness.add(f"flood {n}", _login("flood", f"account {n}")) for n in range(3)]
    tasks.append(await harness.add("other", _login("other")))

    assert (await harness.open_gate(*tasks)).index("other") <= 1


async def test_full_queue_takes_a_place_from_the_largest_share(harness: QueueHarness) -> None:
    flood = [await harness.add(f"flood {n}", _login("flood", f"account {n}")) for n in range(4)]
    other = await harness.add("other", _login("other"))

    with pytest.raises(Unavailable):
        await flood[3]
    assert set(await harness.open_gate(*flood[:3], other)) == {
        "flood 0", "flood 1", "flood 2", "other",
    }  # fmt: skip


async def test_flooding_address_cannot_take_places_of_others(harness: QueueHarness) -> None:
    others = [await harness.add(f"other {n}", _login(f"other {n}")) for n in range(3)]
    mine = await harness.add("mine", _login("flood"))
    refused = await harness.add("refused", _login("flood"))

    with pytest.raises(Unavailable):
        await refused
    assert "refused" not in await harness.open_gate(*others, mine)


async def test_login_takes_a_place_from_a_registration_in_a_full_queue(
    harness: QueueHarness,
) -> None:
    waiting = [await harness.add(f"r {n}", _registration(f"address {n}")) for n in range(4)]
    login = await harness.add("login", _login("victim"))

    with pytest.raises(Unavailable):
        await waiting[3]
    assert (await harness.open_gate(*waiting[:3], login))[0] == "login"


async def test_one_address_runs_at_most_two_hashes_at_once() -> None:
    harness = QueueHarness(threads=4, max_waiting=10)
    running, most = 0, 0
    lock = threading.Lock()
    barrier = threading.Event()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        barrier.wait(0.01)
        with lock:
            running -= 1

    tasks = [
        asyncio.create_task(harness.queue.run(_login("flood", f"account {n}"), work))
        for n in range(8)
    ]
    await harness.open_gate(*tasks)
    harness.close()

    assert most == 2


async def test_cancelled_wait_frees_its_place(harness: QueueHarness) -> None:
    task = await harness.add("cancelled", _login("a"))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    other = await harness.add("other", _login("b"))

    assert await harness.open_gate(other) == ["other"]
    assert harness.queue.waiting_count == 0
