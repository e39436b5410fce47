"""A normal user beside hostile clients for MINUTES (10): `make soak`.

The hostile clients send slow heads and bodies, hold connections open without reading, flood logins,
send invalid and pipelined requests, exceed one account's rate limit, and hold 1,000 idle sockets.
Each group uses separate addresses in 127.0.0.0/8. The normal user reads and writes sessions and
completes interviews, and every answer is compared with what the user wrote.

Prints a table, with the memory at each quarter of the run. Ends with status 1 if the user's p99 is
250 ms or more, or if an answer is wrong.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from stacks import RunningStack, distributed, embedded  # noqa: E402

from coach_common.testing.harness import wait_until  # noqa: E402
from coach_common.testing.servers import PrivateMariaDB, PrivateRabbitMQ  # noqa: E402

MINUTES = float(os.environ.get("MINUTES", "10"))
PROFILE = os.environ.get("PROFILE", "embedded")
P99_GOAL_MS = 250.0
IDLE_SOCKETS = 1_000
SOCKETS_PER_ACCOUNT = 20
SLOW_CLIENTS = 30
HALF_OPEN_CLIENTS = 100
LOGIN_CLIENTS = 16
INVALID_CLIENTS = 4
FLOOD_CLIENTS = 4
PASSWORD = "a long soak password"
ANSWER = (
    "In my last job our checkout failed every Friday evening. I compared the logs of the payment"
    " provider with ours and found that a connection pool of five was too small. I raised it to"
    " twenty, added an alarm, and failures fell from five percent to zero within two weeks."
)


@dataclass
class Report:
    """What happened."""

    milliseconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    interviews: int = 0
    hostile: Counter[str] = field(default_factory=Counter)

    def percentile(self, share: float) -> float:
        """Return a percentile of the normal user's response times in milliseconds."""
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class NormalUser:
    """Sends about seven requests a second, one after the other, and checks every answer.

    That is less than the 600 requests a minute that an account may send.
    """

    def __init__(self, client: httpx.AsyncClient, report: Report) -> None:
        self._client = client
        self._report = report
        self._titles: dict[str, str] = {}

    async def register(self) -> None:
        """Create the account."""
        body = {"email": "normal@example.com", "password": PASSWORD}
        response = await self._client.post("/v1/auth/register", json=body)
        self._client.headers["authorization"] = f"Bearer {response.json()['token']}"

    async def run(self) -> None:
        """Practise until cancelled."""
        number = 0
        while True:
            number += 1
            title = f"Session {number}"
            session = await self._call("POST", "/v1/sessions", 201, title=title, question="Why?")
            if session is not None:
                self._titles[session["id"]] = title
                await self._check_reads(session["id"])
                if number % 10 == 0:
                    await self._check_interview(session["id"])
            await asyncio.sleep(0.6)

    async def _check_reads(self, session_id: str) -> None:
        one = await self._call("GET", f"/v1/sessions/{session_id}", 200)
        if one is not None and one["title"] != self._titles[session_id]:
            self._report.wrong.append(f"session {session_id} has the title {one['title']}")
        listed = await self._call("GET", "/v1/sessions?limit=5", 200)
        if listed is not None and listed["sessions"][0]["id"] != session_id:
            self._report.wrong.append("the newest session is not the first of the list")
        if listed is not None and listed["stats"]["total"] != len(self._titles):
            self._report.wrong.append(f"{listed['stats']['total']} of {len(self._titles)} sessions")
        account = await self._call("GET", "/v1/auth/me", 200)
        if account is not None and account["email"] != "normal@example.com":
            self._report.wrong.append("another account was returned")

    async def _check_interview(self, session_id: str) -> None:
        await self._call("POST", f"/v1/sessions/{session_id}/complete", 200, transcript=ANSWER)
        deadline = time.monotonic() + 60
        feedback: dict[str, Any] | None = None
        while time.monotonic() < deadline:
            feedback = await self._call("GET", f"/v1/sessions/{session_id}/feedback", 200)
            if feedback is not None and feedback["status"] in ("ready", "failed"):
                break
            await asyncio.sleep(0.5)
        if feedback is None or feedback["status"] != "ready" or feedback["transcript"] != ANSWER:
            self._report.wrong.append(f"no feedback for {session_id} within 60 s: {feedback}")
        self._report.interviews += 1

    async def _call(
        self, method: str, path: str, status: int, **body: Any
    ) -> dict[str, Any] | None:
        started_at = time.perf_counter()
        try:
            response = await self._client.request(method, path, json=body or None, timeout=30)
        except httpx.HTTPError as error:
            self._report.wrong.append(f"{method} {path}: {type(error).__name__}")
            return None
        self._report.milliseconds.append((time.perf_counter() - started_at) * 1000)
        if response.status_code != status:
            self._report.wrong.append(f"{method} {path}: {response.status_code} {response.text}")
            return None
        document: dict[str, Any] = response.json()
        return document


class HostileClients:
    """Groups of clients that misuse the system until cancelled."""

    def __init__(self, url: str, report: Report, tokens: list[str]) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._count = report.hostile
        self._tokens = tokens
        self.open_sockets = 0

    async def run(self) -> None:
        """Run every group."""
        async with asyncio.TaskGroup() as group:
            for number in range(SLOW_CLIENTS):
                group.create_task(self._repeat(self._send_slow_head, f"127.1.0.{number + 1}"))
                group.create_task(self._repeat(self._send_slow_body, f"127.1.1.{number + 1}"))
            for number in range(HALF_OPEN_CLIENTS):
                group.create_task(self._repeat(self._stay_half_open, f"127.2.0.{number + 1}"))
                group.create_task(self._repeat(self._never_read, f"127.2.1.{number + 1}"))
            for number in range(LOGIN_CLIENTS):
                group.create_task(self._repeat(self._flood_logins, f"127.3.0.{number + 1}"))
            for number in range(INVALID_CLIENTS):
                group.create_task(self._repeat(self._send_invalid, f"127.4.0.{number + 1}"))
            for _ in range(FLOOD_CLIENTS):
                group.create_task(self._repeat(self._exceed_rate_limit, "127.5.0.1"))
            for number in range(IDLE_SOCKETS):
                source = f"127.6.{number // 100}.1"
                group.create_task(self._repeat(self._hold_socket, source, number))

    async def holds_all_sockets(self) -> bool:
        """Return whether every idle socket is open."""
        return self.open_sockets == IDLE_SOCKETS

    async def _repeat(
        self, attack: Callable[..., Awaitable[None]], source: str, *arguments: Any
    ) -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                reader, writer = await asyncio.open_connection(
                    self._host, self._port, local_addr=(source, 0), limit=2**16
                )
                try:
                    async with asyncio.timeout(120):
                        await attack(reader, writer, *arguments)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(0.5)

    def _record(self, attack: str, response: bytes) -> None:
        status = response[9:12].decode("latin-1") if response.startswith(b"HTTP/1.1 ") else "closed"
        self._count[f"{attack}: {status}"] += 1

    def _head(self, method: str, path: str, token: str, *lines: str) -> bytes:
        head = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", *lines]
        return ("\r\n".join(head) + "\r\n\r\n").encode()

    async def _send_slow_head(self, reader: Any, writer: Any) -> None:
        for byte in b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 100:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.5)
            if reader.at_eof() or reader._buffer:
                break
        self._record("slow head", await reader.read(4096))

    async def _send_slow_body(self, reader: Any, writer: Any) -> None:
        token = self._tokens[0]
        writer.write(self._head("POST", "/v1/sessions", token, "Content-Length: 500000"))
        for _ in range(200):
            writer.write(b" ")
            await asyncio.sleep(1)
            if reader.at_eof() or reader._buffer:
                break
        self._record("slow body", await reader.read(4096))

    async def _stay_half_open(self, reader: Any, writer: Any) -> None:
        writer.write(b"GET /v1/sess")
        self._record("half open", await reader.read(4096))

    async def _never_read(self, reader: Any, writer: Any) -> None:
        writer.transport.pause_reading()
        request = self._head("GET", "/openapi.json", self._tokens[1])
        for _ in range(60):
            writer.write(request)
            await asyncio.sleep(1)
        self._count["never reads"] += 1

    async def _flood_logins(self, reader: Any, writer: Any) -> None:
        for number in range(20):
            body = json.dumps({"email": f"victim{number}@example.com", "password": PASSWORD + "!"})
            writer.write(
                (
                    "POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n{body}"
                ).encode()
            )
            self._record("login flood", await _read_response(reader))

    async def _send_invalid(self, reader: Any, writer: Any) -> None:
        for request in (
            b"GET /%2e%2e/ HTTP/1.1\r\nHost: x\r\n\r\n" * 50,
            b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01",
        ):
            writer.write(request)
            self._record("invalid", await reader.read(4096))

    async def _exceed_rate_limit(self, reader: Any, writer: Any) -> None:
        for _ in range(200):
            writer.write(self._head("GET", "/v1/sessions", self._tokens[2]))
            self._record("request flood", await _read_response(reader))
            await asyncio.sleep(0.02)

    async def _hold_socket(self, reader: Any, writer: Any, number: int) -> None:
        token = self._tokens[3 + number // SOCKETS_PER_ACCOUNT]
        writer.write(
            self._head(
                "GET", "/v1/ws/transcribe", token, "Connection: Upgrade", "Upgrade: websocket",
                "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            )
        )  # fmt: skip
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head:
            self._record("idle socket", head)
            return
        self.open_sockets += 1
        try:
            while True:  # Answer pings, as a client in the background does.
                async with asyncio.timeout(100):
                    first, length = await reader.readexactly(2)
                    if length > 125:
                        length = int.from_bytes(await reader.readexactly(2), "big")
                    payload = await reader.readexactly(length)
                if first & 15 == 9:
                    writer.write(bytes((0x8A, 0x80 | length)) + b"\0\0\0\0" + payload)
        finally:
            self.open_sockets -= 1


async def _read_response(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return head + await reader.readexactly(int(length or b"0"))


async def register_hostile_accounts(url: str) -> list[str]:
    """Return tokens: one per group that needs one, and enough for the idle sockets."""
    tokens: list[str] = []
    for number in range(3 + IDLE_SOCKETS // SOCKETS_PER_ACCOUNT):
        transport = httpx.AsyncHTTPTransport(local_address=f"127.7.0.{number + 1}")
        async with httpx.AsyncClient(base_url=url, transport=transport, timeout=60) as client:
            body = {"email": f"hostile{number}@example.com", "password": PASSWORD}
            response = await client.post("/v1/auth/register", json=body)
            tokens.append(response.json()["token"])
    return tokens


def resident_mib(stack: RunningStack) -> dict[str, float]:
    """Return the memory of each process in MiB."""
    found = {}
    for name, process in stack.processes.items():
        if process.running is not None:
            status = Path(f"/proc/{process.running.pid}/status").read_text()
            found[name] = int(status.partition("VmRSS:")[2].split()[0]) / 1024
    return found


async def soak(stack: RunningStack) -> Report:
    """Run the normal user beside the hostile clients, and print the report."""
    report = Report()
    tokens = await register_hostile_accounts(stack.url)
    async with httpx.AsyncClient(base_url=stack.url) as client:
        user = NormalUser(client, report)
        await user.register()
        hostile = HostileClients(stack.url, report, tokens)
        attacks = asyncio.create_task(hostile.run())
        practice: asyncio.Task[None] | None = None
        try:
            await wait_until(
                hostile.holds_all_sockets,
                description="the idle sockets",
                timeout_seconds=120,
            )
            sockets_before = hostile.open_sockets
            practice = asyncio.create_task(user.run())
            memory = [resident_mib(stack)]
            for _ in range(4):
                await asyncio.wait(
                    {practice, attacks},
                    timeout=MINUTES * 15,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                memory.append(resident_mib(stack))
            sockets_after = hostile.open_sockets
        finally:
            for task in (practice, attacks):
                if task is not None:
                    task.cancel()
            tasks = [attacks] if practice is None else [attacks, practice]
            results = await asyncio.gather(*tasks, return_exceptions=True)
        report.wrong += [repr(one) for one in results if isinstance(one, Exception)]
    print(f"{MINUTES:g} minutes, profile {stack.profile}\n")
    print("| normal user | |\n|---|---|")
    print(f"| requests | {len(report.milliseconds)} |")
    print(f"| interviews with feedback | {report.interviews} |")
    print(f"| median | {statistics.median(report.milliseconds):.0f} ms |")
    print(f"| p99 | {report.percentile(0.99):.0f} ms |")
    print(f"| slowest | {max(report.milliseconds):.0f} ms |")
    print(f"| wrong answers | {len(report.wrong)} |")
    print(f"| idle sockets at the start and end | {sockets_before}, {sockets_after} |")
    for name in memory[0]:
        print(f"| memory of {name} | {', '.join(f'{one[name]:.0f}' for one in memory)} MiB |")
    print("\n| hostile clients: response | number |\n|---|---|")
    for outcome, count in sorted(report.hostile.items()):
        print(f"| {outcome} | {count} |")
    for wrong in report.wrong[:20]:
        print(f"wrong: {wrong[:300]}")
    return report


async def main() -> int:
    """Run the soak on a separate stack."""
    with tempfile.TemporaryDirectory(prefix="coach-soak-") as folder:
        if PROFILE == "distributed":
            with PrivateMariaDB.run() as mariadb, PrivateRabbitMQ.run() as rabbitmq:
                async with distributed(Path(folder), mariadb, rabbitmq) as stack:
                    report = await soak(stack)
        else:
            async with embedded(Path(folder)) as stack:
                report = await soak(stack)
    failed = bool(report.wrong) or report.percentile(0.99) >= P99_GOAL_MS
    return int(failed)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
