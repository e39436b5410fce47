"""The faults of a chaos run, and their schedule."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass

from chaos.shuffle import shuffle_queues
from chaos.system import System

_SQLITE_TRIGGERS = {
    "chaos_double": """
        CREATE TRIGGER chaos_double AFTER INSERT ON messages
        WHEN NEW.attempt = 1 AND abs(random()) % 2 = 0
        BEGIN INSERT INTO messages (id, queue, event_id, body, attempt, due_at)
        VALUES (randomblob(16), NEW.queue, NEW.event_id, NEW.body, NEW.attempt, NEW.due_at); END""",
    "chaos_delay": """
        CREATE TRIGGER chaos_delay AFTER INSERT ON messages
        WHEN NEW.attempt = 1 AND abs(random()) % 3 = 0
        BEGIN UPDATE messages SET due_at = strftime('%Y-%m-%d %H:%M:%f000', due_at, '+3 seconds')
        WHERE id = NEW.id; END""",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that is active for some seconds. Entering `act` begins it, leaving it ends it."""

    kind: str
    target: str
    hold_seconds: float
    act: Callable[[], AbstractAsyncContextManager[None]]

    @property
    def name(self) -> str:
        return f"{self.kind}: {self.target}"


class FaultFailed(Exception):
    """A part of the system did not survive a fault as it must."""


def schedule_faults(system: System, rng: random.Random) -> Iterator[list[Fault]]:
    """Yield cycles without end. Each cycle has every kind once, in random order.

    A kind takes its next target in each cycle, until it has had all of them. The result depends
    only on the profile, on what the machine allows, and on `rng`.
    """
    by_kind: dict[str, list[Fault]] = {}
    for fault in all_faults(system):
        by_kind.setdefault(fault.kind, []).append(fault)
    for faults in by_kind.values():
        rng.shuffle(faults)
    number = 0
    while True:
        cycle = [faults[number % len(faults)] for faults in by_kind.values()]
        rng.shuffle(cycle)
        yield cycle
        number += 1


def all_faults(system: System) -> list[Fault]:
    """Return every fault of every target."""
    faults: list[Fault] = []

    def add(kind: str, target: str, hold_seconds: float, act: Act) -> None:
        faults.append(Fault(kind, target, hold_seconds, lambda: act(system, target)))

    for name in system.stack.processes:
        add("kill -9 of a process", name, 1.0, _kill)
        add("restart", name, 1.0, _terminate)
        add("freeze of a process", name, 5.0, _freeze)
    for name in system.servers:
        add(f"kill -9 of {name}", name, 3.0, _kill)
        add(f"freeze of {name}", name, 6.0, _freeze)
    add("kill -9 of speech", "speech process", 1.0, _kill_speech)
    add("freeze of speech", "speech process", 5.0, _freeze_speech)
    for name in system.proxies:
        part = name if name in system.servers else "a process"
        add(f"cut connections to {part}", name, 1.0, _cut)
        add(f"delay bytes to {part}", name, 5.0, _delay)
        add(f"hold bytes to {part}", name, 5.0, _hold)
    for name in filter(system.clocks.__contains__, system.servers):
        add(f"clock +1 day of {name}", name, 5.0, _step_clock(86_400))
    for name in filter(system.clocks.__contains__, system.stack.processes):
        add("clock +10 min", name, 5.0, _step_clock(600))
        add("clock -10 min", name, 5.0, _step_clock(-600))
        add("clock +1 day", name, 5.0, _step_clock(86_400))
    if system.has_own_disk:
        add("full disk", "data directory", 12.0, _fill_disk)
    if system.rabbitmq is not None:
        add("full disk of rabbitmq", "rabbitmq", 5.0, _raise_broker_alarm)
        add("double and reorder", "events", 10.0, _shuffle_rabbitmq)
    else:
        add("double and reorder", "events", 10.0, _shuffle_sqlite)
    return faults


Act = Callable[[System, str], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def _kill(system: System, name: str) -> AsyncIterator[None]:
    await system.kill(name)
    try:
        yield
    finally:
        await system.start(name)


@asynccontextmanager
async def _terminate(system: System, name: str) -> AsyncIterator[None]:
    process = system.stack.processes[name]
    try:
        status = await process.stop()
        yield
    except AssertionError as error:
        raise FaultFailed(str(error)) from error
    finally:
        await process.start()
    if status != 0:
        raise FaultFailed(f"{name} ended with status {status} after SIGINT")


@asynccontextmanager
async def _freeze(system: System, name: str) -> AsyncIterator[None]:
    system.signal_process(name, signal.SIGSTOP)
    try:
        yield
    finally:
        system.signal_process(name, signal.SIGCONT)


@asynccontextmanager
async def _kill_speech(system: System, _: str) -> AsyncIterator[None]:
    for pid in system.speech_pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    yield


@asynccontextmanager
async def _freeze_speech(system: System, _: str) -> AsyncIterator[None]:
    pids = system.speech_pids()
    _signal_all(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal_all(pids, signal.SIGCONT)


def _signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@asynccontextmanager
async def _cut(system: System, name: str) -> AsyncIterator[None]:
    system.proxies[name].cut()
    yield


@asynccontextmanager
async def _delay(system: System, name: str) -> AsyncIterator[None]:
    system.proxies[name].delay_seconds = 0.2
    try:
        yield
    finally:
        system.proxies[name].heal()


@asynccontextmanager
async def _hold(system: System, name: str) -> AsyncIterator[None]:
    system.proxies[name].hold()
    try:
        yield
    finally:
        system.proxies[name].heal()


def _step_clock(seconds: float) -> Act:
    @asynccontextmanager
    async def act(system: System, name: str) -> AsyncIterator[None]:
        system.clocks[name].step(seconds)
        try:
            yield
        finally:
            system.clocks[name].step(0)

    return act


@asynccontextmanager
async def _fill_disk(system: System, _: str) -> AsyncIterator[None]:
    """Leave no byte free, also behind the processes' backs: what they free is filled again."""
    filling = asyncio.create_task(_keep_disk_full(system))
    try:
        yield
    finally:
        filling.cancel()
        await asyncio.wait({filling})
        system.free_disk()


async def _keep_disk_full(system: System) -> None:
    with system.ballast.open("ab", buffering=0) as file:
        while True:
            for size in (2**20, 2**12):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))
                        await asyncio.sleep(0)
            await asyncio.sleep(0.05)


@asynccontextmanager
async def _raise_broker_alarm(system: System, _: str) -> AsyncIterator[None]:
    """Make the broker believe that its disk is full: it blocks all publishers."""
    assert system.rabbitmq is not None
    control = system.rabbitmq.rabbitmqctl
    await asyncio.to_thread(control, "set_disk_free_limit", "1000000GB")
    try:
        yield
    finally:
        await asyncio.to_thread(control, "set_disk_free_limit", "50MB")


@asynccontextmanager
async def _shuffle_sqlite(system: System, _: str) -> AsyncIterator[None]:
    """Double half of the messages and delay a third of them by 3 s, in the broker's own file."""
    run = system.execute_on_broker
    for statement in _SQLITE_TRIGGERS.values():
        await asyncio.to_thread(run, statement)
    try:
        yield
    finally:
        for name in _SQLITE_TRIGGERS:
            await asyncio.to_thread(run, f"DROP TRIGGER IF EXISTS {name}")


@asynccontextmanager
async def _shuffle_rabbitmq(system: System, _: str) -> AsyncIterator[None]:
    """Compete with the consumers: publish what was received twice more, in another order."""
    async with shuffle_queues(system.broker_url):
        yield
