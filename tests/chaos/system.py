"""The system under test: a stack of either profile with a proxy in front of each part."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from stacks import RunningStack, distributed, embedded

from chaos.clock import SteppableClock, build_library, make_clock
from chaos.proxy import Proxy
from coach_common.messaging.sqlite_broker import MESSAGES
from coach_common.messaging.subscriptions import UNROUTED_QUEUE
from coach_common.testing.servers import PrivateMariaDB, PrivateRabbitMQ

SERVICES = ("auth", "sessions", "media", "ai")
DISK_BYTES = 256 * 1024 * 1024

_SETTINGS = {
    # Short of the production values, so that sign-ins and restarts leave time for interviews.
    "BCRYPT_COST": "4",
    "LOCAL_EMBEDDINGS": "false",
    "OPEN_REQUESTS_PER_MINUTE": "100000",
    "REQUESTS_PER_MINUTE": "100000",
    "LOG_LEVEL": "INFO",
}


@dataclass
class System:
    """A running stack, its proxies and the parts that faults act on."""

    stack: RunningStack
    directory: Path
    proxies: dict[str, Proxy]
    mariadb: PrivateMariaDB | None = None
    rabbitmq: PrivateRabbitMQ | None = None
    has_own_disk: bool = False
    """True if `directory` is a separate small file system."""
    clocks: dict[str, SteppableClock] = field(default_factory=dict)
    """The clocks of the processes whose clock can be stepped."""

    @property
    def is_embedded(self) -> bool:
        return self.stack.profile == "embedded"

    @property
    def servers(self) -> tuple[str, ...]:
        """The names of the servers that are not ours."""
        return () if self.is_embedded else ("rabbitmq", "mariadb")

    @property
    def ballast(self) -> Path:
        """The file that fills the disk."""
        return self.directory / "ballast"

    def free_disk(self) -> None:
        """End a full disk."""
        self.ballast.unlink(missing_ok=True)

    @property
    def url(self) -> str:
        """URL of the gateway for HTTP requests."""
        return f"http://127.0.0.1:{self.proxies['gateway'].port}"

    @property
    def socket_url(self) -> str:
        """URL of the gateway for WebSockets."""
        name = "gateway" if self.is_embedded else "gateway2"
        return f"ws://127.0.0.1:{self.proxies[name].port}/ws/transcribe"

    def route_store(self, url: str) -> tuple[str, str]:
        """Return the URL of an object through its proxy, and the host that was signed."""
        parts = urlsplit(url)
        proxied = parts._replace(netloc=f"127.0.0.1:{self.proxies['store'].port}")
        return urlunsplit(proxied), parts.netloc

    def speech_pids(self) -> list[int]:
        """Return the ids of the processes that transcribe."""
        running = self.stack.ai.running
        if running is None:
            return []
        found: list[int] = []
        for children in Path(f"/proc/{running.pid}/task").glob("*/children"):
            with suppress(OSError):
                found += map(int, children.read_text().split())
        return [pid for pid in found if _is_speech_process(pid)]

    def signal_process(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process of the stack, to RabbitMQ or to MariaDB."""
        if name == "rabbitmq" and self.rabbitmq is not None:
            os.killpg(self.rabbitmq.process.pid, number)
        elif name == "mariadb" and self.mariadb is not None:
            os.kill(self.mariadb.process.pid, number)
        else:
            running = self.stack.processes[name].running
            if running is not None and running.returncode is None:
                running.send_signal(number)

    async def kill(self, name: str) -> None:
        """Send SIGKILL and wait for the end."""
        if name == "rabbitmq" and self.rabbitmq is not None:
            await asyncio.to_thread(self.rabbitmq.kill)
        elif name == "mariadb" and self.mariadb is not None:
            await asyncio.to_thread(self.mariadb.kill)
        else:
            await self.stack.processes[name].kill()

    async def start(self, name: str) -> None:
        """Start what was killed or stopped."""
        if name == "rabbitmq" and self.rabbitmq is not None:
            await asyncio.to_thread(self.rabbitmq.start)
        elif name == "mariadb" and self.mariadb is not None:
            await asyncio.to_thread(self.mariadb.start)
        else:
            await self.stack.processes[name].start()

    async def heal(self) -> None:
        """End every fault that may still be active. Safe to call at any time."""
        for proxy in self.proxies.values():
            proxy.heal()
        self.free_disk()
        for clock in self.clocks.values():
            clock.step(0)
        for name in [*self.stack.processes, *self.servers]:
            with suppress(ProcessLookupError):
                self.signal_process(name, signal.SIGCONT)
        for pid in self.speech_pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        for server in (self.mariadb, self.rabbitmq):
            if server is not None and server.process.poll() is not None:
                await asyncio.to_thread(server.start)
        for process in self.stack.processes.values():
            if process.running is None or process.running.returncode is not None:
                await process.start()

    def query(self, service: str, statement: str) -> list[list[str]]:
        """Return the rows of a query on the database of a service, as text."""
        if self.is_embedded:
            file = self.directory / "data" / f"{service}.db"
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as database:
                return [[str(value) for value in row] for row in database.execute(statement)]
        if self.mariadb is None:
            raise RuntimeError("the distributed profile has no MariaDB")
        url = self.stack.processes[service].env["DATABASE_URL"]
        rows = self.mariadb.execute(f"USE {urlsplit(url).path[1:]}; {statement}")
        return [row.split("\t") for row in rows.splitlines()]

    def execute_on_broker(self, statement: str) -> None:
        """Run a statement on the file of the embedded broker."""
        file = self.directory / "data" / "broker.db"
        with closing(sqlite3.connect(file, timeout=10)) as database, database:
            database.execute(statement)

    def backlog(self) -> dict[str, int]:
        """Return what is not processed yet: outboxes, jobs, queues and dead letters."""
        found = {
            f"outbox of {name}": int(self.query(name, "SELECT count(*) FROM outbox")[0][0])
            for name in SERVICES
        }
        found["jobs"] = int(self.query("ai", "SELECT count(*) FROM jobs")[0][0])
        if self.rabbitmq is not None:
            depths = self.rabbitmq.queue_depths(self.broker_url)
        else:
            rows = self.query(
                "broker",
                f"SELECT queue || CASE WHEN dead_at IS NULL THEN '' ELSE '.dead' END, count(*)"
                f" FROM {MESSAGES.name} GROUP BY 1",
            )
            depths = {queue: int(count) for queue, count in rows}
        found |= {queue: count for queue, count in depths.items() if queue != UNROUTED_QUEUE}
        return {name: count for name, count in found.items() if count}

    @property
    def broker_url(self) -> str:
        """URL of the virtual host, past the proxy."""
        url = urlsplit(self.stack.processes["ai"].env["RABBITMQ_URL"])
        if self.rabbitmq is None:
            raise RuntimeError("the embedded profile has no RabbitMQ")
        return urlunsplit(url._replace(netloc=f"guest:guest@127.0.0.1:{self.rabbitmq.port}"))


def _is_speech_process(pid: int) -> bool:
    try:
        return b"process_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@asynccontextmanager
async def run_system(profile: str, directory: Path) -> AsyncIterator[System]:
    """Run the stack of a profile. Everything that was started is stopped at the end.

    The logs are then in the parent of `directory`, also after a failure.
    """
    async with AsyncExitStack() as stack:
        has_own_disk = stack.enter_context(_small_disk(directory))
        library = build_library(directory)
        proxies: dict[str, Proxy] = {}
        clocks: dict[str, SteppableClock] = {}

        async def route(part: str, url: str) -> str:
            parts = urlsplit(url)
            if part not in proxies:
                proxy = Proxy(part, "127.0.0.1", parts.port or 0)
                proxies[part] = await stack.enter_async_context(proxy.run())
            userinfo, at, _ = parts.netloc.rpartition("@")
            netloc = f"{userinfo}{at}127.0.0.1:{proxies[part].port}"
            return urlunsplit(parts._replace(netloc=netloc))

        def clock_env(name: str) -> dict[str, str]:
            if library is None:
                return {}
            clocks[name], env = make_clock(library, directory / f"{name}.clock")
            return env

        if profile == "embedded":
            running = await stack.enter_async_context(
                embedded(directory, **_SETTINGS, **clock_env("embedded"))
            )
            env = running.processes["embedded"].env
            await route("store", f"http://127.0.0.1:{env['STORE_PORT']}")
            system = System(running, directory, proxies, has_own_disk=has_own_disk, clocks=clocks)
        else:
            mariadb = stack.enter_context(PrivateMariaDB.run(**clock_env("mariadb")))
            stack.callback(_copy_logs, mariadb.directory, directory.parent, "mariadb")
            rabbitmq = stack.enter_context(PrivateRabbitMQ.run())
            stack.callback(_copy_logs, rabbitmq.directory, directory.parent, "rabbitmq")
            running = await stack.enter_async_context(
                distributed(
                    directory, mariadb, rabbitmq, route=route, env_of=clock_env, **_SETTINGS
                )
            )
            await route("gateway2", running.gateway_urls[1])
            system = System(running, directory, proxies, mariadb, rabbitmq, has_own_disk, clocks)
        await route("gateway", running.url)
        try:
            yield system
        finally:
            await system.heal()


def _copy_logs(source: Path, target: Path, prefix: str = "") -> None:
    for file in source.rglob("*.log"):
        with suppress(OSError):
            shutil.copy(file, target / "-".join(filter(None, (prefix, file.name))))


@contextmanager
def _small_disk(directory: Path) -> Iterator[bool]:
    """Mount a small file system at the directory and yield True; False if this is not allowed.

    At the end the logs are copied to the parent of the directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    options = f"size={DISK_BYTES},mode=0755"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    is_mounted = os.geteuid() == 0 and not subprocess.run(mount, capture_output=True).returncode
    try:
        yield is_mounted
    finally:
        _copy_logs(directory, directory.parent)
        if is_mounted:
            subprocess.run(["umount", "-l", str(directory)], check=False)


def new_directory() -> Path:
    """Return a new directory for a run."""
    return Path(tempfile.mkdtemp(prefix="coach-chaos-")) / "run"
