"""The gateway's sockets: memory, the way of an event, and pushes a second. `make bench-ws`.

5,000 idle, authenticated sockets on one fresh gateway process, beside plain uvicorn in the same
run; an event from RabbitMQ to 1,000 sockets; frames pushed a second. Servers, broker and clients
are separate processes and share the cores. Needs Debian's `rabbitmq-server`.
"""

import asyncio
import json
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection
from typing import Any
from uuid import UUID

import httpx
import uvloop

from coach_common import telemetry
from coach_common.clock import rfc3339, utc_now
from coach_common.events.base import Envelope
from coach_common.events.catalog import SessionJudged
from coach_common.ids import new_id
from coach_common.messaging.subscriptions import OutboxMessage
from coach_common.testing.harness import wait_until
from coach_common.testing.servers import PrivateRabbitMQ, free_port

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
IDLE = int(os.environ.get("IDLE", "5000"))
LISTENING = int(os.environ.get("LISTENING", "1000"))
SETTLE_SECONDS = float(os.environ.get("SETTLE_SECONDS", "22"))
"""Longer than a ping's interval: every socket has been pinged once."""
SERVICE_TOKEN = "a token between services"


# --- servers: `python benchmarks/sockets.py part NAME PORT FOLDER …`


async def serve(name: str, port: int, folder: Path, *rest: str) -> None:
    from coach_common import logs, service
    from coach_common.config import Settings
    from coach_common.messaging.rabbitmq import RabbitMQTransport
    from coach_common.testing.fakes import FakeTransport

    logs.configure(level="INFO", json=True)
    listener = service.listen("127.0.0.1", port)
    if name == "gateway":
        from coach_gateway.app import build
        from coach_gateway.config import GatewaySettings

        settings = GatewaySettings(service_token=SERVICE_TOKEN, auth_url=rest[0])
        transport = RabbitMQTransport(rest[1], prefetch=16) if len(rest) > 1 else FakeTransport()
        built = build(settings, transport)
    else:
        app = {"sign-in": sign_in, "asgi": asgi, "relay": relay}[name](folder, *rest)
        built = service.Service(name, app, Settings(), FakeTransport(), deps=None)
    async with service.running(built, listener):
        await service.wait_for_shutdown()


def sign_in(folder: Path) -> Any:
    """What the gateway asks of auth: the public keys, and which logins have ended."""
    answers = {
        "/.well-known/jwks.json": (folder / "jwks.json").read_bytes(),
        "/internal/revocations": b'{"cursor": "", "revoked": []}',
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answers.get(scope["path"], b"{}")})

    return app


def asgi(_: Path) -> Any:
    """The smallest socket on this server: accept, greet and echo, without authentication."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": '{"type": "auth_success"}'})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    return app


def relay(_: Path, behind: str) -> Any:
    """A plain relay: for each socket one to a service behind, frames handed on both ways."""
    from websockets.asyncio.client import connect

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        async with connect(behind, proxy=None, compression=None) as upstream:
            await send({"type": "websocket.accept"})

            async def back() -> None:
                async for text in upstream:
                    await send({"type": "websocket.send", "text": text})

            task = asyncio.create_task(back())
            while (message := await receive())["type"] == "websocket.receive":
                await upstream.send(message["text"])
            task.cancel()

    return app


# --- clients: as lean as can be, so that the servers are measured


class Client(asyncio.Protocol):
    """A socket that answers pings and records when a frame arrived."""

    def __init__(self, request: bytes, on_frame: Callable[[bytes, float], None]) -> None:
        self._request = request
        self._on_frame = on_frame
        self._buffer = b""
        self._is_open = False
        self.greeted: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.greeted.done():
            self.greeted.set_exception(error or ConnectionError(self._buffer[:200]))

    def data_received(self, data: bytes) -> None:
        at = time.monotonic()
        self._buffer += data
        if not self._is_open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head:
                self._transport.close()
                return
            self._is_open, self._buffer = True, rest
        while (frame := self._frame()) is not None:
            kind, payload = frame
            if kind == 9:
                self._transport.write(bytes((0x8A, 0x80 | len(payload))) + bytes(4) + payload)
            elif kind == 1 and not self.greeted.done():
                self.greeted.set_result(payload)
            elif kind == 1:
                self._on_frame(payload, at)

    def _frame(self) -> tuple[int, bytes] | None:
        if len(self._buffer) < 2:
            return None
        length, start = self._buffer[1], 2
        if length == 126:
            length, start = int.from_bytes(self._buffer[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(self._buffer[2:10], "big"), 10
        if len(self._buffer) < start + length:
            return None
        found = self._buffer[0] & 15, self._buffer[start : start + length]
        self._buffer = self._buffer[start + length :]
        return found


async def hold(port: int, count: int, tokens: list[str]) -> list[tuple[bytes, float]]:
    """Open `count` sockets, print "open" and hold them until stdin ends. Return the frames."""
    came: list[tuple[bytes, float]] = []

    def on_frame(payload: bytes, at: float) -> None:
        came.append((payload[:120], at))

    loop = asyncio.get_running_loop()
    limit = asyncio.Semaphore(64)

    async def one(number: int) -> Client:
        request = (
            f"GET /ws/transcribe HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Authorization: Bearer {tokens[number]}\r\n\r\n"
        ).encode()
        async with limit:
            _, client = await loop.create_connection(
                lambda: Client(request, on_frame), "127.0.0.1", port
            )
            await client.greeted
        return client

    clients = await asyncio.gather(*map(one, range(count)))
    assert all(b"auth_success" in client.greeted.result() for client in clients)
    print("open", flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    return came


def write_down(came: list[tuple[bytes, float]], file: Path) -> None:
    """Keep the ids of the events that came."""
    found = ((re.search(rb'"event_id":"([^"]+)"', start), at) for start, at in came)
    file.write_text("".join(f"{match[1].decode()} {at}\n" for match, at in found if match))


# --- the run


@dataclass
class Memory:
    """What one process holds before and with its sockets, in KiB."""

    name: str
    sockets: int
    before: int
    after: int
    rate: float

    @property
    def each(self) -> float:
        return (self.after - self.before) / self.sockets


@dataclass
class Pushed:
    """One way of publishing: when each frame came, against when its event was published."""

    name: str
    delays_ms: list[float]
    expected: int
    frames_a_second: float
    cpu_us: float


class Processes:
    """Servers and clients of a run, each with the run's folder."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._log = stack.enter_context((folder / "log").open("ab"))

    def server(self, name: str, *rest: str) -> tuple[subprocess.Popen[bytes], int]:
        """Start a part; return once it listens, with one socket opened and closed."""
        port = free_port()
        started = self._start("part", name, str(port), str(self._folder), *rest)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(OSError), create_connection(("127.0.0.1", port), 1):
                return started, port
            time.sleep(0.05)
        raise SystemExit(f"error: {name} does not listen\n{self.log_tail()}")

    def clients(
        self, port: int, count: int, tokens: str, seen: str = "unread"
    ) -> Callable[[], None]:
        """Open sockets; return what closes them."""
        names = [str(self._folder / name) for name in (tokens, seen)]
        holding = self._start("hold", str(port), str(count), *names)
        assert holding.stdin is not None and holding.stdout is not None
        if holding.stdout.readline() != b"open\n":
            raise SystemExit(f"error: the sockets do not open\n{self.log_tail()}")

        def close() -> None:
            assert holding.stdin is not None
            holding.stdin.close()
            holding.wait(30)

        return close

    def log_tail(self) -> str:
        """Return the end of what the processes logged."""
        return (self._folder / "log").read_text(errors="replace")[-3000:]

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        started = subprocess.Popen(
            [sys.executable, __file__, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._stack.callback(_stop, started)
        return started


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(20)


def resident(pid: int) -> int:
    """Return a process's own share of memory in KiB (PSS: what it shares counts by parts)."""
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def people(folder: Path) -> dict[str, list[UUID]]:
    """Write tokens and the keys they are checked with; return whose they are."""
    from jwt.algorithms import RSAAlgorithm

    from coach_common.testing.fakes import TokenIssuer

    issuer = TokenIssuer()
    key = RSAAlgorithm.to_jwk(issuer.private_key.public_key(), as_dict=True)
    keys = {"keys": [key | {"kid": issuer.kid, "use": "sig", "alg": "RS256"}]}
    (folder / "jwks.json").write_text(json.dumps(keys))
    users = {"one": [new_id() for _ in range(IDLE)], "many": [new_id() for _ in range(50)]}
    (folder / "one").write_text("\n".join(issuer.issue(user_id) for user_id in users["one"]))
    devices = LISTENING // len(users["many"])
    tokens = [issuer.issue(user_id) for user_id in users["many"] for _ in range(devices)]
    (folder / "many").write_text("\n".join(tokens))
    users["one"] = users["one"][:LISTENING]
    return users


def memory(run: Processes, auth_url: str) -> list[Memory]:
    """Hold idle sockets on a fresh process of each kind."""
    _, behind = run.server("asgi")
    kinds = [
        ("plain uvicorn, accepts and waits", IDLE, ("asgi",)),
        ("plain relay on uvicorn", IDLE // 5, ("relay", f"ws://127.0.0.1:{behind}")),
        ("gateway", IDLE, ("gateway", auth_url)),
    ]
    found: list[tuple[Memory, int, Callable[[], None]]] = []
    for name, count, words in kinds:
        process, port = run.server(*words)
        time.sleep(2)
        run.clients(port, 1, "one")()
        time.sleep(1)
        before, began = resident(process.pid), time.monotonic()
        close = run.clients(port, count, "one")
        rate = count / (time.monotonic() - began)
        found.append((Memory(name, count, before, 0, rate), process.pid, close))
        print(f"{name}: {count} open", file=sys.stderr)
    time.sleep(SETTLE_SECONDS)
    for one, pid, close in found:
        one.after = resident(pid)
        close()
    return [one for one, _, _ in found]


async def events(
    run: Processes, folder: Path, auth_url: str, broker_url: str, users: dict[str, list[UUID]]
) -> list[Pushed]:
    """Publish feedback over RabbitMQ and see it come out of 1,000 sockets."""
    from coach_common.messaging.rabbitmq import RabbitMQTransport

    process, port = run.server("gateway", auth_url, broker_url)
    transport = RabbitMQTransport(broker_url)
    await transport.start(())
    try:
        found = []
        await wait_until(lambda: _is_ready(port), description="the gateway's broker")
        for name, whose, times, pause in (
            ("an event to each of 1,000 users, 200 a second", "one", 1, 0.005),
            ("the same, all at once", "one", 1, 0.0),
            ("20 events to each of 50 users with 20 sockets, at once", "many", 20, 0.0),
        ):
            close = run.clients(port, LISTENING, whose, "seen")
            before = cpu_seconds(process.pid)
            sent = await _publish(transport, users[whose] * times, pause)
            await asyncio.sleep(3)
            spent = cpu_seconds(process.pid) - before
            close()
            lines = [line.split() for line in (folder / "seen").read_text().splitlines()]
            delays = sorted((float(at) - sent[event_id]) * 1000 for event_id, at in lines)
            took = max(float(at) for _, at in lines) - min(sent.values())
            expected = len(sent) * LISTENING // len(users[whose])
            found.append(
                Pushed(name, delays, expected, len(lines) / took, spent / len(lines) * 1e6)
            )
            print(f"{name}: {len(lines)} of {expected}", file=sys.stderr)
        return found
    finally:
        await transport.stop()


async def _publish(transport: Any, users: list[UUID], pause: float) -> dict[str, float]:
    """Publish `session.judged` for these users; return when each event was handed over."""
    sent: dict[str, float] = {}
    batch, began = [], time.monotonic()
    for number, user_id in enumerate(users):
        event = SessionJudged(
            session_id=new_id(),
            user_id=user_id,
            feedback={"session_id": "s", "status": "ready", "detailed_feedback": "x" * 2000},
        )
        event_id = new_id()
        trace = telemetry.new_traceparent()
        envelope = Envelope.wrap(
            event, id=event_id, source="/bench", time=rfc3339(utc_now()), traceparent=trace
        )
        batch.append(OutboxMessage(event_id, event.type, envelope.to_json()))
        if pause:
            await asyncio.sleep(max(0.0, began + number * pause - time.monotonic()))
        if pause or number % 100 == 99:
            sent |= dict.fromkeys((str(one.id) for one in batch), time.monotonic())
            assert len(await transport.publish(batch)) == len(batch)
            batch = []
    return sent


async def _is_ready(port: int) -> bool:
    async with httpx.AsyncClient() as client:
        found = (await client.get(f"http://127.0.0.1:{port}/health/ready")).json()
    return "broker" not in found.get("missing", ())  # there are no services behind it


def report(idle: list[Memory], pushed: list[Pushed]) -> str:
    plain = idle[0].each
    lines = [
        "# WebSocket benchmark",
        "",
        "For developers and reviewers."
        " Written by `make bench-ws`. One process each for the gateway, RabbitMQ, the publisher and"
        " the clients, on two shared cores. Only numbers of one run are comparable.",
        "",
        "## Idle sockets",
        "",
        f"PSS of a fresh process, {SETTLE_SECONDS:.0f} s after the last one opened (every socket"
        " has been pinged once), less its PSS before. The gateway's are authenticated, each a user"
        " of its own. The relay holds a second connection for each socket.",
        "",
        "| process | sockets | before MiB | with them MiB | KiB a socket | × plain | opened/s |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {one.name} | {one.sockets} | {one.before / 1024:.0f} | {one.after / 1024:.0f}"
            f" | {one.each:.1f} | {one.each / plain:.2f} | {one.rate:.0f} |"
            for one in idle
        ),
        "",
        f"## From the broker to {LISTENING} sockets",
        "",
        "`session.judged` with 2 KB of feedback, from handing it to RabbitMQ (persistent,"
        " confirmed) to its frame in a client. `CPU` is the gateway's own time a frame.",
        "",
        "| events | frames | lost | p50 ms | p99 ms | max ms | frames/s | CPU µs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in pushed:
        delays = one.delays_ms
        lines.append(
            f"| {one.name} | {len(delays)} | {one.expected - len(delays)}"
            f" | {statistics.median(delays):.1f} | {delays[int(len(delays) * 0.99)]:.1f}"
            f" | {delays[-1]:.1f} | {one.frames_a_second:.0f} | {one.cpu_us:.0f} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended, too
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE + 1000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"error: {wanted} open files are needed; the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    with tempfile.TemporaryDirectory(prefix="coach-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        users = people(folder)
        run = Processes(stack, folder)
        _, port = run.server("sign-in")
        auth_url = f"http://127.0.0.1:{port}"
        idle = memory(run, auth_url)
        with PrivateRabbitMQ.run() as rabbitmq:
            pushed = uvloop.run(events(run, folder, auth_url, rabbitmq.url, users))
    text = report(idle, pushed)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sockets.md").write_text(text)
    print(text)


if __name__ == "__main__":
    if sys.argv[1:2] == ["part"]:
        uvloop.run(serve(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), *sys.argv[5:]))
    elif sys.argv[1:2] == ["hold"]:
        held = hold(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]).read_text().split())
        write_down(uvloop.run(held), Path(sys.argv[5]))
    else:
        main()
