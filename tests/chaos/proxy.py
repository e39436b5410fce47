"""A TCP proxy between two parts of the system that cuts, delays and holds connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_CHUNK_BYTES = 64 * 1024


@dataclass
class Proxy:
    """Forwards bytes to one address. All faults apply to open and to new connections."""

    name: str
    host: str
    upstream_port: int
    port: int = 0
    delay_seconds: float = 0.0
    """Extra time of each chunk in each direction."""
    _is_open: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def run(self) -> AsyncIterator["Proxy"]:
        """Listen on a free port of the loopback interface until the block ends."""
        self._is_open.set()
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self._is_open.set()
            self.cut()
            for task in [*self._tasks]:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset every open connection."""
        for writer in [*self._writers]:
            writer.transport.abort()

    def hold(self) -> None:
        """Forward nothing until `heal`. Connections stay open, as behind a dead link."""
        self._is_open.clear()

    def heal(self) -> None:
        """Forward again, without a delay."""
        self.delay_seconds = 0.0
        self._is_open.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._track(writer)
        await self._is_open.wait()
        try:
            upstream_reader, upstream = await asyncio.open_connection(self.host, self.upstream_port)
        except OSError:
            writer.transport.abort()
            return
        self._track(upstream)
        pumps = [
            asyncio.create_task(self._pump(reader, upstream)),
            asyncio.create_task(self._pump(upstream_reader, writer)),
        ]
        for pump in pumps:
            self._tasks.add(pump)
            pump.add_done_callback(self._tasks.discard)
        await asyncio.gather(*pumps, return_exceptions=True)
        for one in (writer, upstream):
            self._writers.discard(one)
            one.close()

    def _track(self, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                await self._is_open.wait()
                writer.write(chunk)
                await writer.drain()
        with suppress(OSError, RuntimeError):
            writer.write_eof()
