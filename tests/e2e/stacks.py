"""The running system as processes: embedded (one) and distributed (six and real servers).

The distributed stack has two gateways. Clients send HTTP requests to the first and open their
WebSockets at the second. Each stack has its own ports and directories and stops all its processes.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from coach_common.testing.harness import http_client
from coach_common.testing.servers import PrivateMariaDB, PrivateRabbitMQ, free_port

_READY_SECONDS = 60.0
_STOP_SECONDS = 40.0
"""Longer than a process may need: SHUTDOWN_SECONDS and the time to close its connections."""

_SERVICES = ("auth", "sessions", "media", "ai", "gateway", "gateway2")
_BUCKET = "genai-coach"


@dataclass
class Process:
    """A program of a stack. Can be started and killed repeatedly."""

    name: str
    argv: list[str]
    env: dict[str, str]
    log: Path
    running: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        env = {**os.environ, **self.env}
        # Libraries hide their telemetry from CI.
        env.pop("CI", None)
        with self.log.open("ab") as log_file:
            self.running = await asyncio.create_subprocess_exec(
                *self.argv,
                env=env,
                stdout=log_file,
                stderr=log_file,
            )

    async def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        assert self.running is not None
        self.running.kill()
        await self.running.wait()
        self.running = None

    async def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send SIGINT, or another signal that stops it, and return the exit status."""
        assert self.running is not None
        self.running.send_signal(number)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                status = await self.running.wait()
        except TimeoutError:
            await self.kill()
            raise AssertionError(f"{self.name} did not stop:\n{self.log_tail()}") from None
        self.running = None
        return status

    def log_text(self) -> str:
        """Return the log, including that of earlier runs."""
        return self.log.read_text(errors="replace")

    def log_tail(self) -> str:
        return self.log_text()[-3000:]


@dataclass
class RunningStack:
    """A running system: the URLs of its gateways and its processes."""

    profile: str
    gateway_urls: tuple[str, ...]
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """URL of the gateway for HTTP requests."""
        return self.gateway_urls[0]

    @property
    def socket_url(self) -> str:
        """URL of the gateway for WebSockets: another replica if there is one."""
        return self.gateway_urls[-1]

    @property
    def live_directory(self) -> Path:
        """The directory of live recordings in progress."""
        env = self.ai.env
        return Path(env.get("LIVE_DIR") or f"{env['DATA_DIR']}/live")

    @property
    def ai(self) -> Process:
        """The process that transcribes and scores."""
        return self.processes.get("ai", self.processes.get("embedded", None))  # type: ignore[return-value]

    @property
    def ai_database_url(self) -> str:
        """The database of ai."""
        return self.database_url("ai")

    def database_url(self, service: str) -> str:
        """Return the URL of the database of a service."""
        env = self.processes[service if service in self.processes else "embedded"].env
        return env.get("DATABASE_URL") or f"sqlite:///{env['DATA_DIR']}/{service}.db"

    async def start(self) -> None:
        for process in self.processes.values():
            if process.running is None:
                await process.start()
        await self.until_ready()

    async def until_ready(self) -> None:
        """Wait until every gateway and all its dependencies are ready."""
        last_response = "no response"
        pending_urls = list(self.gateway_urls)
        try:
            async with asyncio.timeout(_READY_SECONDS), http_client() as client:
                while True:
                    with suppress(httpx.HTTPError):
                        response = await client.get(f"{pending_urls[0]}/health/ready", timeout=5)
                        last_response = response.text
                        if response.status_code == 200:
                            del pending_urls[0]
                            if not pending_urls:
                                return
                            continue
                    for process in self.processes.values():
                        if process.running is not None and process.running.returncode is not None:
                            raise AssertionError(f"{process.name} ended:\n{process.log_tail()}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            tails = "\n".join(
                f"{process.name}: {process.log_tail()}" for process in self.processes.values()
            )
            raise AssertionError(f"not ready: {last_response}\n{tails}") from None

    async def stop_all(self) -> None:
        for process in self.processes.values():
            if process.running is not None:
                with suppress(ProcessLookupError):
                    process.running.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            if process.running is not None:
                try:
                    async with asyncio.timeout(_STOP_SECONDS):
                        await process.running.wait()
                except TimeoutError:
                    await process.kill()


@asynccontextmanager
async def embedded(directory: Path, **env: str) -> AsyncIterator[RunningStack]:
    """Run all services in one process, as `make run` does."""
    port, store_port = free_port(), free_port()
    process = Process(
        "embedded",
        [sys.executable, "-m", "coach_embedded"],
        {
            "DATA_DIR": str(directory / "data"),
            "PORT": str(port),
            "STORE_PORT": str(store_port),
            "HOST": "127.0.0.1",
        }
        | env,
        directory / "embedded.log",
    )
    stack = RunningStack("embedded", (f"http://127.0.0.1:{port}",), {"embedded": process})
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop_all()


async def keep_url(part: str, url: str) -> str:
    """Return the URL of a part unchanged."""
    return url


def no_env(_: str) -> Mapping[str, str]:
    """Return no variables for a process."""
    return {}


@asynccontextmanager
async def distributed(
    directory: Path,
    mariadb: PrivateMariaDB,
    rabbitmq: PrivateRabbitMQ,
    *,
    route: Callable[[str, str], Awaitable[str]] = keep_url,
    env_of: Callable[[str], Mapping[str, str]] = no_env,
    **env: str,
) -> AsyncIterator[RunningStack]:
    """Run one process per service with MariaDB, RabbitMQ and object storage, as in production.

    `route` maps the name and URL of a part to the URL that the others use to reach it.
    `env_of` returns the variables that only the process of this name gets.
    """
    ports = {name: free_port() for name in (*_SERVICES, "store")}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    shared = {
        "AUTH_URL": await route("auth", urls["auth"]),
        "SESSIONS_URL": await route("sessions", urls["sessions"]),
        "MEDIA_URL": await route("media", urls["media"]),
        "AI_URL": await route("ai", urls["ai"]),
        "SERVICE_TOKEN": "a service token that only the tests know",
        "SECRET_KEY": "a secret key of more than thirty-two characters",
        "AWS_ACCESS_KEY_ID": "TESTACCESSKEY",
        "AWS_SECRET_ACCESS_KEY": "a secret that only the tests know",
        "S3_BUCKET_NAME": _BUCKET,
        "S3_ENDPOINT_URL": await route("store", urls["store"]),
        "LIVE_DIR": str(directory / "live"),
        "HOST": "127.0.0.1",
    } | env
    async with AsyncExitStack() as servers:
        shared["RABBITMQ_URL"] = await route("rabbitmq", servers.enter_context(rabbitmq.vhost()))
        processes = {
            "store": Process(
                "store",
                [sys.executable, str(Path(__file__).parent / "store_process.py"), str(directory)],
                shared | {"PORT": str(ports["store"])},
                directory / "store.log",
            )
        }
        migrations = []
        for name in _SERVICES:
            service_env = {"PORT": str(ports[name])}
            if not name.startswith("gateway"):
                database_url = servers.enter_context(mariadb.database())
                service_env["DATABASE_URL"] = await route("mariadb", database_url)
                migrations.append(_migrate(name, shared | service_env))
            processes[name] = Process(
                name,
                [sys.executable, "-m", f"coach_{name.rstrip('2')}", "serve"],
                shared | service_env | dict(env_of(name)),
                directory / f"{name}.log",
            )
        await asyncio.gather(*migrations)
        stack = RunningStack("distributed", (urls["gateway"], urls["gateway2"]), processes)
        try:
            await stack.start()
            yield stack
        finally:
            await stack.stop_all()


async def _migrate(name: str, env: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"coach_{name}",
        "migrate",
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
