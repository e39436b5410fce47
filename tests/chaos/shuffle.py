"""Doubles and reorders the messages in the queues of RabbitMQ."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from chaos.proxy import Proxy
from coach_common.messaging.subscriptions import durable_queues

_CALL_SECONDS = 5.0
_RELEASE_SECONDS = 10.0
_HELD_MESSAGES = 6
_COPIES = 2


@asynccontextmanager
async def shuffle_queues(url: str) -> AsyncIterator[None]:
    """Receive messages and publish each of them twice, in another order, until the block ends.

    The block ends within 15 s, whatever the broker does: the connection passes a proxy that cuts
    it. The broker then delivers to the consumers again what was received and not acknowledged.
    """
    parts = urlsplit(url)
    proxy = Proxy("shuffle", "127.0.0.1", parts.port or 0)
    async with proxy.run():
        userinfo = parts.netloc.rpartition("@")[0]
        own_url = urlunsplit(parts._replace(netloc=f"{userinfo}@127.0.0.1:{proxy.port}"))
        is_over = asyncio.Event()
        task = asyncio.create_task(_Shuffler(own_url, is_over).run())
        try:
            yield
        finally:
            is_over.set()
            await asyncio.wait({task}, timeout=_RELEASE_SECONDS)
            proxy.cut()
            task.cancel()
            await asyncio.wait({task}, timeout=_CALL_SECONDS)


class _Shuffler:
    """One connection that competes with the consumers."""

    def __init__(self, url: str, is_over: asyncio.Event) -> None:
        self._url = url
        self._is_over = is_over
        self._rng = random.Random(1)
        self._held: list[tuple[str, AbstractIncomingMessage]] = []

    async def run(self) -> None:
        """Shuffle until it is over or the broker fails."""
        with suppress(AMQPError, OSError, TimeoutError):
            async with asyncio.timeout(_CALL_SECONDS):
                connection = await aio_pika.connect(self._url)
                channel = await connection.channel()
                await channel.set_qos(prefetch_count=50)
            while not self._is_over.is_set():
                await self._receive(channel)
                if len(self._held) >= _HELD_MESSAGES or self._rng.random() < 0.05:
                    await self._release(channel)
                await asyncio.sleep(0.05)
            await self._release(channel)
            async with asyncio.timeout(_CALL_SECONDS):
                await connection.close()

    async def _receive(self, channel: AbstractChannel) -> None:
        for name in durable_queues():
            async with asyncio.timeout(_CALL_SECONDS):
                queue = await channel.get_queue(name, ensure=False)
                message = await queue.get(fail=False)
            if message is not None:
                self._held.append((name, message))

    async def _release(self, channel: AbstractChannel) -> None:
        held, self._held = self._held, []
        for _ in range(_COPIES):
            self._rng.shuffle(held)
            for queue_name, message in held:
                copy = aio_pika.Message(
                    message.body,
                    headers=message.headers,
                    message_id=message.message_id,
                    type=message.type,
                    content_type=message.content_type,
                    delivery_mode=message.delivery_mode,
                )
                async with asyncio.timeout(_CALL_SECONDS):
                    await channel.default_exchange.publish(copy, queue_name)
        for _, message in held:
            async with asyncio.timeout(_CALL_SECONDS):
                await message.ack()
