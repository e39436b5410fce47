"""Dead letters on RabbitMQ, in the queues `<work queue>.dead`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity

from coach_common.errors import Unavailable
from coach_common.messaging import rabbitmq_topology as topology
from coach_common.messaging.dead_letters import DeadLetter, Selection, read_event
from coach_common.messaging.rabbitmq_topology import Move
from coach_common.messaging.subscriptions import durable_queues

_CONNECT_SECONDS = 10.0


class RabbitMQDeadLetters:
    """The dead letters of all services.

    Each operation opens its own connection. One that stays open while an operator decides is
    closed by the broker, because nothing sends its heartbeats.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    async def find(self, selection: Selection) -> list[DeadLetter]:
        """Return the selected dead letters, oldest first for each queue. They stay where they are.

        While it reads, a deletion of their user does not see them, and is repeated later.
        """
        async with _connect(self._url) as connection:
            return [
                letter
                for queue in _work_queues(selection)
                for letter in await _read(connection, queue)
                if selection.includes(queue, letter.event)
            ]

    async def replay(self, selection: Selection) -> int:
        """Publish the selected dead letters to their work queues; return how many."""
        return await self._move(selection, Move.REPLAY)

    async def drop(self, selection: Selection) -> int:
        """Delete the selected dead letters; return how many."""
        return await self._move(selection, Move.DROP)

    async def _move(self, selection: Selection, move: Move) -> int:
        moved = 0
        async with _connect(self._url) as connection:
            for queue in _work_queues(selection):

                def choose(body: bytes, queue: str = queue) -> Move:
                    return move if selection.includes(queue, read_event(body)) else Move.KEEP

                try:
                    moved += await topology.move_messages(
                        connection, topology.dead_letter_queue(queue), choose
                    )
                except ChannelNotFoundEntity:
                    continue
        return moved


@asynccontextmanager
async def _connect(url: str) -> AsyncIterator[AbstractConnection]:
    """Connect to RabbitMQ. Raises Unavailable if it cannot be reached, or the connection breaks."""
    try:
        async with await aio_pika.connect(url, timeout=_CONNECT_SECONDS) as connection:
            yield connection
    except (AMQPError, OSError, TimeoutError) as error:
        raise Unavailable("The message broker cannot be reached.") from error


async def _read(connection: AbstractConnection, queue: str) -> list[DeadLetter]:
    letters = []
    try:
        # Closing the channel returns all messages to the queue, in their order.
        async with topology.open_channel(connection) as channel:
            dead = await channel.declare_queue(
                topology.dead_letter_queue(queue), durable=True, passive=True
            )
            for _ in range(dead.declaration_result.message_count or 0):
                message = await dead.get(fail=False)
                if message is None:
                    break
                letters.append(_letter(queue, message))
    except ChannelNotFoundEntity:
        return []
    return letters


def _work_queues(selection: Selection) -> list[str]:
    return [one for one in durable_queues() if selection.queue in (None, one)]


def _letter(queue: str, message: AbstractIncomingMessage) -> DeadLetter:
    reason = message.headers.get("x-reason", "")
    return DeadLetter(queue, str(reason), message.timestamp, read_event(message.body))
