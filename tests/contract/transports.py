"""Both transports behind one interface, so that one suite tests them."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from coach_common.errors import Unavailable
from coach_common.messaging.dead_letters import DeadLetters, Selection
from coach_common.messaging.rabbitmq import RabbitMQTransport
from coach_common.messaging.rabbitmq_dead_letters import RabbitMQDeadLetters
from coach_common.messaging.sqlite_broker import SqliteBroker, SqliteTransport
from coach_common.messaging.sqlite_dead_letters import SqliteDeadLetters, open_sqlite_dead_letters
from coach_common.messaging.subscriptions import Subscription, Transport
from coach_common.testing.harness import wait_until
from coach_common.testing.servers import PrivateRabbitMQ

DELAYS = (0.1, 0.3)


@dataclass
class TransportHarness:
    """A private broker of a test."""

    open_transport: Callable[[], Transport]
    dead_letter_counts: Callable[[], Awaitable[dict[str, int]]]
    queue_depths: Callable[[], Awaitable[dict[str, int]]]
    restart: Callable[[], Awaitable[None]]
    open_dead_letters: Callable[[], AbstractAsyncContextManager[DeadLetters]]
    running: list[Transport] = field(default_factory=list)

    async def start_transport(self, *subscriptions: Subscription) -> Transport:
        """Start a transport and wait until it is connected."""
        transport = self.open_transport()
        self.running.append(transport)
        await transport.start(subscriptions)

        async def flows() -> bool:
            try:
                await transport.check()
            except Unavailable:
                return False
            return True

        await wait_until(flows, description="a connection")
        return transport

    async def stop(self, transport: Transport) -> None:
        self.running.remove(transport)
        await transport.stop()


async def in_process(tmp_path: Path, stack: AsyncExitStack) -> TransportHarness:
    url = f"sqlite:///{tmp_path}/broker.db"
    brokers = [SqliteBroker(url)]
    await brokers[0].open()

    async def dead() -> dict[str, int]:
        letters = await SqliteDeadLetters(brokers[-1].database).find(Selection())
        return dict(Counter(letter.queue for letter in letters))

    async def restart() -> None:
        await brokers[-1].close()
        brokers.append(SqliteBroker(url))
        await brokers[-1].open()

    stack.push_async_callback(lambda: brokers[-1].close())
    return TransportHarness(
        lambda: SqliteTransport(brokers[-1], delays=DELAYS),
        dead,
        lambda: brokers[-1].queue_depths(),
        restart,
        lambda: open_sqlite_dead_letters(url),
    )


def rabbitmq(server: PrivateRabbitMQ, url: str) -> TransportHarness:
    async def counts() -> dict[str, int]:
        found = await asyncio.to_thread(server.queue_depths, url)
        return {queue: count for queue, count in found.items() if count}

    async def dead() -> dict[str, int]:
        found = await counts()
        return {q.removesuffix(".dead"): n for q, n in found.items() if q.endswith(".dead")}

    async def waiting() -> dict[str, int]:
        return {q: n for q, n in (await counts()).items() if not q.endswith(".dead")}

    async def restart() -> None:
        server.kill()
        await asyncio.to_thread(server.start)

    def open_transport() -> Transport:
        return RabbitMQTransport(url, delays=DELAYS, topology_check_seconds=0.5)

    return TransportHarness(
        open_transport, dead, waiting, restart, lambda: nullcontext(RabbitMQDeadLetters(url))
    )
