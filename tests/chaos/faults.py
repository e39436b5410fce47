"""The faults of a chaos run, and their schedule."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from chaos.system import System
from coach_common.messaging.subscriptions import durable_queues

_RELEASE_SECONDS = 5.0
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
        return f"{self.kind} {self.target}"


def plan_faults(system: System, rng: random.Random) -> list[Fault]:
    """Return the faults of a run in random order: each kind once with each target, kinds mixed.

    The result depends only on the profile, on what the machine allows, and on `rng`.
    """
    by_kind: dict[str, list[Fault]] = {}
    for fault in _all_faults(system):
        by_kind.setdefault(fault.kind, []).append(fault)
    for faults in by_kind.values():
        rng.shuffle(faults)
    planned: list[Fault] = []
    while by_kind:
        kinds = sorted(by_kind)
        rng.shuffle(kinds)
        for kind in kinds:
            planned.append(by_kind[kind].pop())
            if not by_kind[kind]:
                del by_kind[kind]
    return planned


def _all_faults(system: System) -> list[Fault]:
    names = [*system.stack.processes]
    servers = [] if system.is_embedded else ["rabbitmq", "mariadb"]
    faults: list[Fault] = []

    def add(kind: str, target: str, hold_seconds: float, act: Act) -> None:
        faults.append(Fault(kind, target, hold_seconds, lambda: act(system, target)))

    for name in names:
        add("kill -9", name, 1.0, _kill)
        add("restart", name, 1.0, _terminate)
        add("freeze", name, 5.0, _freeze)
    for name in servers:
        add("kill -9", name, 3.0, _kill)
        add("freeze", name, 6.0, _freeze)
    add("kill -9", "speech process", 1.0, _kill_speech)
    add("freeze", "speech process", 5.0, _freeze_speech)
    for name in system.proxies:
        add("cut connections", name, 1.0, _cut)
        add("delay 0.2 s", name, 5.0, _delay)
        add("hold bytes", name, 5.0, _hold)
    for name in system.clocks:
        add("clock +10 min", name, 5.0, _step_clock(600))
        add("clock -10 min", name, 5.0, _step_clock(-600))
        add("clock +1 day", name, 5.0, _step_clock(86_400))
    if system.has_own_disk:
        add("full disk", "data directory", 5.0, _fill_disk)
    if system.rabbitmq is not None:
        add("full disk", "rabbitmq", 5.0, _raise_broker_alarm)
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
    status = await process.stop()
    try:
        if status != 0:
            raise AssertionError(f"{name} ended with status {status} after SIGINT")
        yield
    finally:
        await process.start()


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
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if number is signal.SIGSTOP:
            yield


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
    ballast = system.directory / "ballast"

    def fill() -> None:
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            for size in (2**20, 2**12):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))

    try:
        await asyncio.to_thread(fill)
        yield
    finally:
        ballast.unlink(missing_ok=True)


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
    task = asyncio.create_task(_shuffle_queues(system))
    try:
        yield
    finally:
        task.cancel()
        # A message that is not returned here is delivered again when the connection ends.
        await asyncio.wait({task}, timeout=_RELEASE_SECONDS)


async def _shuffle_queues(system: System) -> None:
    rng = random.Random(1)
    async with await aio_pika.connect(system.broker_url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=50)
        held: list[tuple[str, AbstractIncomingMessage]] = []

        async def release() -> None:
            rng.shuffle(held)
            for queue_name, message in held:
                for _ in range(2):
                    copy = aio_pika.Message(
                        message.body,
                        headers=message.headers,
                        message_id=message.message_id,
                        type=message.type,
                        content_type=message.content_type,
                        delivery_mode=message.delivery_mode,
                    )
                    await channel.default_exchange.publish(copy, queue_name)
                await message.ack()
            held.clear()

        try:
            while True:
                for name in durable_queues():
                    queue = await channel.get_queue(name, ensure=False)
                    message = await queue.get(fail=False)
                    if message is not None:
                        held.append((name, message))
                await asyncio.sleep(0.05)
                if len(held) >= 6 or rng.random() < 0.05:
                    await release()
        finally:
            with suppress(AMQPError):
                await asyncio.shield(release())
