"""A service as a value, and how to run one: HTTP server, relay and background workers."""

import asyncio
import contextlib
import gc
import math
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import uvicorn
from starlette.types import ASGIApp

from coach_common import logs
from coach_common.config import Settings
from coach_common.errors import Unavailable
from coach_common.http.limits import HttpOptions
from coach_common.http.protocol import create_protocol_factory
from coach_common.messaging.subscriptions import Subscription, Transport

if TYPE_CHECKING:  # The gateway has no database. Its image has no packages for one.
    from sqlalchemy import Table

    from coach_common.db.database import Database

log = logs.get_logger(__name__)

_ACCEPTS_PER_ITERATION = 8
"""New connections of a listener in one iteration of the event loop. libuv accepts one for each
descriptor, so a burst of new clients would wait for as many iterations as it has clients, and
each iteration works through the requests of all connections (github.com/libuv/libuv/pull/3696).
The listener is therefore registered by this number of descriptors."""
_RESTART_DELAY_SECONDS = 1.0
_PURGE_INTERVAL_SECONDS = 3600.0
_DATABASE_RETRY_SECONDS = 2.0
_MIN_SHUTDOWN_SECONDS = 1.0
_GC_THRESHOLD = 10_000
"""New objects between collections of the youngest generation. With Python's default of 700 the
requests in progress on 256 connections are scanned again and again."""

D_co = TypeVar("D_co", covariant=True)

Worker = Callable[[], Awaitable[None]]
"""Runs until it is cancelled."""


@dataclass(frozen=True, slots=True)
class Service(Generic[D_co]):
    """What `build` returns: all parts of a service, not running yet."""

    name: str
    app: ASGIApp
    settings: Settings
    transport: Transport
    deps: D_co
    """What the use cases work with; None if the service has no use cases."""
    database: "Database | None" = None
    package: str | None = None
    """The package that contains `migrations`."""
    subscriptions: Sequence[Subscription] = ()
    workers: Mapping[str, Worker] = field(default_factory=dict)
    retention_tables: "Sequence[Table]" = ()
    """Tables whose rows are deleted after 30 days."""
    on_start: Sequence[Callable[[], Awaitable[object]]] = ()
    """Called before requests are served. Unavailable is logged and does not stop the start."""
    drain: Callable[[], Awaitable[None]] | None = None
    """Stops taking background work and returns when the work under way has ended. Called at
    shutdown, for at most `shutdown_seconds`, before the workers are cancelled."""
    on_close: Sequence[Callable[[], Awaitable[None]]] = ()
    http: HttpOptions | None = None
    """Bounds of client connections, or None for the defaults."""
    server_options: Mapping[str, Any] = field(default_factory=dict)


class ShutdownDeadline:
    """The time limit of services that stop together. It starts when the first of them stops."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started_at: float | None = None

    def remaining_seconds(self, shutdown_seconds: float) -> float:
        """Return how long a service may still take, at least a second of `shutdown_seconds`."""
        now = self._clock()
        if self._started_at is None:
            self._started_at = now
        return max(
            min(_MIN_SHUTDOWN_SECONDS, shutdown_seconds),
            self._started_at + shutdown_seconds - now,
        )


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Port 0 selects a free port; host `::` listens on IPv4 as well."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    is_dual = host == "::" and socket.has_dualstack_ipv6()
    listener = socket.create_server(
        (host, port), family=family, backlog=1024, dualstack_ipv6=is_dual
    )
    # Accepted sockets inherit it. Without it, the second part of a response waits 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@asynccontextmanager
async def running(
    service: Service[object],
    listener: socket.socket,
    *more_listeners: socket.socket,
    deadline: ShutdownDeadline | None = None,
) -> AsyncIterator[None]:
    """Run a migrated service until the block ends.

    Shutdown order: no new requests and no new background work, what is under way ends within
    `shutdown_seconds`, workers stop, event handlers finish, the relay stops,
    connections close. Unfinished work stays in the database. Services that stop together share a
    `deadline`.
    """
    deadline = deadline or ShutdownDeadline()
    async with AsyncExitStack() as stack:
        for close in service.on_close:
            stack.push_async_callback(close)
        if service.database is not None:
            stack.push_async_callback(service.database.close)
            database = service.database
            background_tasks: dict[str, Worker] = {"purge": lambda: _purge_old_rows(service)}
            if database.is_sqlite:
                background_tasks["truncate_wal"] = lambda: _truncate_wal(database)
            if service.database.outbox is not None:
                from coach_common.messaging.relay import OutboxRelay

                background_tasks["relay"] = OutboxRelay(service.database, service.transport).run
            await stack.enter_async_context(_background_tasks(service.name, background_tasks))
        stack.push_async_callback(service.transport.stop)
        await service.transport.start(service.subscriptions)
        for start_hook in service.on_start:
            try:
                await start_hook()
            except Unavailable as error:
                log.warning(
                    "service.dependency_unavailable", service=service.name, reason=str(error)
                )
        await stack.enter_async_context(_background_tasks(service.name, service.workers))
        is_stopping = asyncio.Event()
        drain = asyncio.create_task(
            _drain(service, is_stopping, deadline), name=f"{service.name}.drain"
        )
        stack.push_async_callback(asyncio.wait, [drain])
        # Also if the start fails: the callback above waits for the drain.
        stack.callback(is_stopping.set)
        await stack.enter_async_context(
            _http_server(service, [listener, *more_listeners], deadline)
        )
        log.info("service.started", service=service.name, port=listener.getsockname()[1])
        yield
        log.info("service.stopping", service=service.name)
        is_stopping.set()


@asynccontextmanager
async def running_together(
    services: Sequence[tuple[Service[object], Sequence[socket.socket]]],
    *,
    deadline: ShutdownDeadline,
) -> AsyncIterator[None]:
    """Start services one after the other. At the end of the block, stop all at the same time."""
    started: list[AbstractAsyncContextManager[None]] = []
    try:
        for service, (listener, *more_listeners) in services:
            context = running(service, listener, *more_listeners, deadline=deadline)
            await context.__aenter__()
            started.append(context)
        yield
    finally:
        results = await asyncio.gather(
            *(context.__aexit__(None, None, None) for context in started), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result


async def _drain(
    service: Service[object], is_stopping: asyncio.Event, deadline: ShutdownDeadline
) -> None:
    await is_stopping.wait()
    if service.drain is None:
        return
    try:
        async with asyncio.timeout(deadline.remaining_seconds(service.settings.shutdown_seconds)):
            await service.drain()
    except TimeoutError:
        log.warning("service.work_not_ended", service=service.name)


async def wait_for_shutdown() -> None:
    """Wait for SIGINT or SIGTERM.

    Freezes the objects created at start-up (`gc.freeze`). They live as long as the process, and
    scanning them in every full collection would pause requests for about 100 ms. Requests leave
    no reference cycles, so rarer collections keep little memory longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, *gc.get_threshold()[1:])
    await _catch_stop_signals().wait()


def _catch_stop_signals() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set. It replaces their former handlers."""
    stop_requested = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop_requested.set)
    return stop_requested


async def upgrade(service: Service[object]) -> None:
    """Migrate the tables of a service to the newest revision."""
    if service.database is not None and service.package is not None:
        from coach_common.db import migrate

        await migrate.upgrade(service.database, service.package)


async def upgrade_when_available(service: Service[object]) -> bool:
    """Wait for the database and migrate it. Return False if SIGINT or SIGTERM stopped the wait.

    A migration that has started is completed first, because MySQL cannot roll it back.
    """
    if service.database is None:
        return True
    stop_requested = _catch_stop_signals()
    while not stop_requested.is_set():
        try:
            await service.database.require_access()
            await upgrade(service)
        except Unavailable as error:
            log.warning("migration.waiting", service=service.name, reason=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(_DATABASE_RETRY_SECONDS):
                    await stop_requested.wait()
        else:
            log.info("migration.completed", service=service.name)
            break
    return not stop_requested.is_set()


async def close(service: Service[object]) -> None:
    """Close a service that was built but did not run."""
    for close_hook in service.on_close:
        await close_hook()
    if service.database is not None:
        await service.database.close()


@asynccontextmanager
async def _http_server(
    service: Service[object], listeners: list[socket.socket], deadline: ShutdownDeadline
) -> AsyncIterator[None]:
    http = service.http or HttpOptions(service=service.name)
    options: dict[str, Any] = {
        "http": create_protocol_factory(http),
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "lifespan": "off",
        "ws": "websockets-sansio",
        "ws_per_message_deflate": False,
    }
    config = uvicorn.Config(service.app, **(options | dict(service.server_options)))
    server = _Server(config)
    copies = [one.dup() for one in listeners for _ in range(_ACCEPTS_PER_ITERATION - 1)]
    task = asyncio.create_task(server.serve([*listeners, *copies]), name=f"{service.name}.http")
    try:
        while not server.started:
            if task.done():
                task.result()
                raise RuntimeError(f"{service.name} did not start")
            await asyncio.sleep(0.005)
        yield
    finally:
        seconds = deadline.remaining_seconds(service.settings.shutdown_seconds)
        config.timeout_graceful_shutdown = math.ceil(seconds)
        server.should_exit = True
        await task


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave signals to the caller: in the embedded profile, five servers share one process."""
        yield


@asynccontextmanager
async def _background_tasks(service: str, workers: Mapping[str, Worker]) -> AsyncIterator[None]:
    tasks = [
        asyncio.create_task(_run_with_restarts(service, name, worker), name=f"{service}.{name}")
        for name, worker in workers.items()
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run_with_restarts(service: str, name: str, worker: Worker) -> None:
    while True:
        try:
            await worker()
        except Unavailable as error:
            log.warning("worker.unavailable", service=service, worker=name, reason=str(error))
        except Exception:
            log.exception("worker.crashed", service=service, worker=name)
        await asyncio.sleep(_RESTART_DELAY_SECONDS)


async def _truncate_wal(database: "Database") -> None:
    from coach_common.db.database import WAL_TRUNCATE_SECONDS

    while True:
        await asyncio.sleep(WAL_TRUNCATE_SECONDS)
        await database.truncate_wal()


async def _purge_old_rows(service: Service[object]) -> None:
    while True:
        if service.database is not None:
            await service.database.purge(*service.retention_tables)
        await asyncio.sleep(_PURGE_INTERVAL_SECONDS)
