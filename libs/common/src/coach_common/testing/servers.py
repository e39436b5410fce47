"""Private MariaDB, RabbitMQ and Redis servers of a test run, on free ports.

They need Debian's `mariadb-server`, `rabbitmq-server` and `redis-server`, and work with and
without root. The kernel kills them if the test run is killed.
"""

import ctypes
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import pytest

_START_SECONDS = 90.0
_STOP_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1
_FIRST_PORT, _END_PORT = 16_384, 32_768
_server_ports = cycle(
    random.SystemRandom().sample(range(_FIRST_PORT, _END_PORT), _END_PORT - _FIRST_PORT)
)
"""Ports below those of outgoing connections on Linux. Each process has its own order."""

_RABBIT = Path("/usr/lib/rabbitmq/bin")


@dataclass
class PrivateMariaDB:
    """A MariaDB server. Each test gets its own schema and user."""

    directory: Path
    port: int
    argv: list[str]
    env: dict[str, str]
    process: subprocess.Popen[bytes] = field(init=False)

    @classmethod
    @contextmanager
    def run(cls, **env: str) -> Iterator["PrivateMariaDB"]:
        """Run a server until the block ends. `env` is added to its environment."""
        _require_program("mariadbd", "mariadb-server")
        _require_program("mariadb-install-db", "mariadb-server")
        with _temporary_directory("coach-mariadb-") as folder:
            _chown_if_root("mysql", folder)
            user = ["--user=mysql"] if os.geteuid() == 0 else []
            # A server that starts deletes temporary tables of all servers in its directory.
            own_env = {**os.environ, "TMPDIR": str(folder)}
            _run(
                [
                    "mariadb-install-db", "--no-defaults", *user, f"--datadir={folder}/data",
                    "--auth-root-authentication-method=normal", "--skip-test-db",
                    "--skip-name-resolve",
                ],
                folder / "install.log",
                own_env,
            )  # fmt: skip
            port = free_port()
            server = cls(
                folder,
                port,
                [
                    _find_program("mariadbd"), "--no-defaults", *user, f"--datadir={folder}/data",
                    f"--socket={folder}/s.sock", f"--pid-file={folder}/pid", f"--port={port}",
                    "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=64M",
                    "--performance-schema=OFF", "--skip-log-bin", "--max-connections=500",
                    "--innodb-flush-log-at-trx-commit=2", "--innodb-doublewrite=0",
                ],
                {**own_env, **env},
            )  # fmt: skip
            server.start()
            try:
                yield server
            finally:
                _terminate(server.process)

    def start(self) -> None:
        """Start or restart the server and wait until it accepts connections."""
        log = self.directory / "server.log"
        self.process = _start(self.argv, log, env=self.env)
        try:
            _wait_until_ready(self._is_ready, self.process, log, "MariaDB")
        except BaseException:
            _terminate(self.process)
            raise

    def kill(self) -> None:
        """Send SIGKILL and wait for the end. Committed data remains."""
        self.process.kill()
        self.process.wait()

    @contextmanager
    def database(self) -> Iterator[str]:
        """Create a schema with its own user and yield its URL. Both are dropped at the end."""
        name = f"t{secrets.token_hex(6)}"
        self.execute(
            f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;"
            f"CREATE USER {name}@'%' IDENTIFIED BY '{name}';"
            f"GRANT ALL ON {name}.* TO {name}@'%'"
        )
        try:
            # On a loaded machine a handshake can take longer than the 5 s of a service.
            yield f"mysql://{name}:{name}@127.0.0.1:{self.port}/{name}?connect_timeout=15"
        finally:
            self.execute(f"DROP DATABASE {name}; DROP USER {name}@'%'")

    def execute(self, statements: str) -> str:
        """Run statements as root and return their rows, one per line with tabs."""
        done = subprocess.run(
            [*self._client_command("mariadb"), "-N", "-e", statements],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        return done.stdout.decode()

    def _is_ready(self) -> bool:
        ping = [*self._client_command("mariadb-admin"), "ping"]
        return subprocess.run(ping, capture_output=True, check=False).returncode == 0

    def _client_command(self, name: str) -> list[str]:
        return [_find_program(name), "--no-defaults", "-uroot", f"--socket={self.directory}/s.sock"]


@dataclass
class PrivateRabbitMQ:
    """A RabbitMQ broker. A test can have its own virtual host."""

    directory: Path
    port: int
    env: dict[str, str]
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def url(self) -> str:
        """The address of the default virtual host."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @classmethod
    @contextmanager
    def run(cls) -> Iterator["PrivateRabbitMQ"]:
        """Run a broker until the block ends."""
        if not (_RABBIT / "rabbitmq-server").exists():
            pytest.fail("RabbitMQ is missing: install Debian's package rabbitmq-server", False)
        with _temporary_directory("coach-rabbitmq-") as folder:
            port, dist, epmd = free_port(), free_port(), free_port()
            (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
            (folder / "enabled_plugins").write_text("[].\n")
            (folder / "env.conf").write_text("")
            env = {
                "HOME": str(folder),
                "RABBITMQ_NODENAME": f"coach{port}@localhost",
                "RABBITMQ_NODE_PORT": str(port),
                "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                "RABBITMQ_DIST_PORT": str(dist),
                "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
                "RABBITMQ_LOG_BASE": f"{folder}/log",
                "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
                "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
                "RABBITMQ_CONF_ENV_FILE": f"{folder}/env.conf",
                "RABBITMQ_FEATURE_FLAGS_FILE": f"{folder}/feature_flags",
                "ERL_EPMD_PORT": str(epmd),
                "ERL_CRASH_DUMP": f"{folder}/erl_crash.dump",
                "ERL_EPMD_ADDRESS": "127.0.0.1",
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
            }
            server = cls(folder, port, {**os.environ, **env})
            try:
                server.start()
                yield server
            finally:
                server.kill()
                subprocess.run(["epmd", "-kill"], env=server.env, capture_output=True, check=False)

    def start(self) -> None:
        """Start or restart the broker and wait until it accepts connections and commands."""
        log = self.directory / "server.log"
        self.process = _start([str(_RABBIT / "rabbitmq-server")], log, env=self.env)
        _wait_until_ready(self._is_ready, self.process, log, "RabbitMQ")

    def kill(self) -> None:
        """Kill the process group with SIGKILL: the broker is a child of the start script."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @contextmanager
    def vhost(self) -> Iterator[str]:
        """Create a virtual host and yield its URL. It is deleted at the end."""
        name = f"t{secrets.token_hex(6)}"
        self.rabbitmqctl("add_vhost", name)
        self.rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        try:
            yield f"amqp://guest:guest@127.0.0.1:{self.port}/{name}"
        finally:
            with suppress(RuntimeError):
                self.rabbitmqctl("delete_vhost", name)

    def rabbitmqctl(self, *args: str) -> str:
        """Run `rabbitmqctl` and return its output."""
        done = subprocess.run(
            [str(_RABBIT / "rabbitmqctl"), "-q", "-n", self.env["RABBITMQ_NODENAME"], *args],
            env=self.env,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr.decode() + done.stdout.decode())
        return done.stdout.decode()

    def queue_depths(self, vhost_url: str) -> dict[str, int]:
        """Return the number of messages per queue of a virtual host."""
        name = vhost_url.rsplit("/", 1)[-1]
        lines = self.rabbitmqctl(
            "list_queues", "-p", name, "--no-table-headers", "name", "messages"
        )
        pairs = [line.split("\t") for line in lines.splitlines() if "\t" in line]
        return {queue: int(count) for queue, count in pairs if count.isdigit()}

    def _is_ready(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            self.rabbitmqctl("await_startup")
        except (OSError, RuntimeError):
            return False
        return True


@dataclass
class PrivateRedis:
    """A Redis server without persistence. Tests flush it if they need it empty."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def url(self) -> str:
        """The address of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @classmethod
    @contextmanager
    def run(cls) -> Iterator["PrivateRedis"]:
        """Run a server until the block ends."""
        _require_program("redis-server", "redis-server")
        with _temporary_directory("coach-redis-") as folder:
            server = cls(folder, free_port())
            server.start()
            try:
                yield server
            finally:
                server.stop()

    def start(self) -> None:
        """Start or restart the server, empty, and wait until it accepts connections."""
        log = self.directory / "server.log"
        self.process = _start(
            [
                _find_program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1",
                "--dir", str(self.directory), "--save", "", "--appendonly", "no",
            ],
            log,
        )  # fmt: skip
        _wait_until_ready(self._is_ready, self.process, log, "Redis")

    def stop(self) -> None:
        """Stop the server. Its data is lost."""
        _terminate(self.process)

    def _is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def free_port() -> int:
    """Return a port that is free now, another one in each call.

    The kernel gives no outgoing connection this port, so it stays free until a server takes it.
    """
    while True:
        port = next(_server_ports)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _require_program(program: str, package: str) -> None:
    if _find_program(program) == program and shutil.which(program) is None:
        pytest.fail(f"{program} is missing: install Debian's package {package}", False)


def _find_program(program: str) -> str:
    for folder in ("/usr/sbin", "/usr/bin"):
        if (Path(folder) / program).exists():
            return f"{folder}/{program}"
    return program


@contextmanager
def _temporary_directory(prefix: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _chown_if_root(user: str, folder: Path) -> None:
    """Change the owner of the directory to the server's user, if we run as root."""
    if os.geteuid() == 0:
        shutil.chown(folder, user, user)


def _run(argv: list[str], log: Path, env: dict[str, str]) -> None:
    with log.open("wb") as lines:
        done = subprocess.run(argv, stdout=lines, stderr=lines, env=env, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed:\n{log.read_text(errors='replace')[:2000]}")


def _start(
    argv: list[str], log: Path, env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    with log.open("ab") as lines:
        return subprocess.Popen(
            argv,
            stdout=lines,
            stderr=lines,
            env=env,
            start_new_session=True,
            preexec_fn=_kill_with_parent,
        )


def _kill_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _terminate(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_ready(
    is_ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, name: str
) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended:\n{log.read_text(errors='replace')[-2000:]}")
        if is_ready():
            return
        time.sleep(0.1)
    raise RuntimeError(f"{name} did not start:\n{log.read_text(errors='replace')[-2000:]}")
