"""Login throughput compared with bcrypt. `make bench-auth`.

One run interleaves bare bcrypt on all cores, logins, and logins beside `GET /auth/me` requests. It
then measures token verification, refreshes, and the time from a logout until two gateway replicas
reject the token: with auth running normally, slowly, after a restart and stopped. Each component
runs in its own process, on SQLite.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bcrypt
import gateway as parts
import httpx

from coach_auth.keys import KeyDerivation
from coach_common.testing.fakes import TokenIssuer
from coach_common.testing.servers import free_port

ROUNDS = int(os.environ.get("ROUNDS", "3"))
CORES = len(os.sched_getaffinity(0))
LOGINS_PER_ROUND = 16 * CORES
CONCURRENCY = 4 * CORES
PROBES_PER_SECOND = 100
SLOW_SECONDS = 0.3
TRIALS = int(os.environ.get("TRIALS", "30"))
Account = dict[str, str]


@dataclass
class Results:
    """All measurements of a run."""

    bare: list[float] = field(default_factory=list)
    logins: list[float] = field(default_factory=list)
    probed: list[float] = field(default_factory=list)
    idle_ms: list[list[float]] = field(default_factory=list)
    burst_ms: list[list[float]] = field(default_factory=list)
    verified: float = 0.0
    verified_from_cache: float = 0.0
    signed: float = 0.0
    refreshes: list[float] = field(default_factory=list)
    seen: dict[str, list[float]] = field(default_factory=dict)
    closed: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)


class DelayProxy:
    """A TCP proxy between gateways and auth that delays every response by `delay` seconds."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.delay = 0.0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, out = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pump(reader, out, False), self._pump(upstream, writer, True))

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_response: bool
    ) -> None:
        later = asyncio.get_running_loop().call_later
        with suppress(OSError):
            while data := await source.read(65536):
                later(self.delay if is_response else 0, sink.write, data)
        later(self.delay, sink.close)


class RawHttpClient:
    """One kept-alive connection. A client library would cost more than the request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, token: str) -> int:
        """Return the status of a GET. Reconnects if the connection was closed."""
        if self._streams is not None:
            with suppress(asyncio.IncompleteReadError, OSError):
                return await self._request(*self._streams, path, token)
        self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return await self._request(*self._streams, path, token)

    async def _request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, token: str
    ) -> int:
        writer.write(
            f"GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length or 0))
        return int(head[9:12])


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def bare_bcrypt() -> float:
    """Return bcrypt checks per second with one thread per core and no service."""
    stored = bcrypt.hashpw(b"a long bench password", bcrypt.gensalt(12))
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(CORES) as pool:
        began = time.perf_counter()
        await asyncio.gather(
            *(
                loop.run_in_executor(pool, bcrypt.checkpw, b"a long bench password", stored)
                for _ in range(LOGINS_PER_ROUND)
            )
        )
        return LOGINS_PER_ROUND / (time.perf_counter() - began)


async def probe(line: RawHttpClient, token: str, until: Callable[[], bool]) -> list[float]:
    """Return the latencies of GET /auth/me in ms, sent at a steady pace."""
    taken: list[float] = []
    due = time.perf_counter()
    while not until():
        due += 1 / PROBES_PER_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        status = await line.get("/auth/me", token)
        taken.append((time.perf_counter() - began) * 1e3)
        assert status == 200
    return taken


async def run_logins(
    client: httpx.AsyncClient, accounts: list[Account]
) -> tuple[float, list[dict[str, Any]]]:
    """Sign in with CONCURRENCY clients. Returns logins per second and the responses."""
    waiting = list(range(LOGINS_PER_ROUND))
    answers: list[dict[str, Any]] = []

    async def phone(account: Account) -> None:
        while waiting:
            waiting.pop()
            answer = await client.post("/auth/login", json=account)
            assert answer.status_code == 200, answer.text
            answers.append(answer.json())

    began = time.perf_counter()
    await asyncio.gather(*(phone(account) for account in accounts))
    return LOGINS_PER_ROUND / (time.perf_counter() - began), answers


async def run_refreshes(client: httpx.AsyncClient, tokens: list[str], seconds: float) -> float:
    done = 0
    until = time.perf_counter() + seconds

    async def phone(token: str) -> None:
        nonlocal done
        while time.perf_counter() < until:
            answer = await client.post("/auth/refresh", json={"refresh_token": token})
            assert answer.status_code == 200
            token = answer.json()["refresh_token"]
            done += 1

    await asyncio.gather(*(phone(token) for token in tokens))
    return done / seconds


async def verify(results: Results) -> None:
    """Measure token verification, cached verification and signing on one core."""
    from uuid import UUID

    issuer = TokenIssuer()
    verifier = issuer.verifier
    tokens = [issuer.issue(UUID(int=number)) for number in range(1500)]
    for name in ("verified", "verified_from_cache"):
        began = time.perf_counter()
        for token in tokens:
            await verifier.verify(token)
        setattr(results, name, len(tokens) / (time.perf_counter() - began))
    key, claims = KeyDerivation("s" * 32).new_signing_key(), issuer.claims(UUID(int=1))
    began = time.perf_counter()
    for _ in range(500):
        key.sign(claims)
    results.signed = 500 / (time.perf_counter() - began)


async def wait_for_status(
    line: RawHttpClient, token: str, is_it: Callable[[int], bool], began: float
) -> float:
    while not is_it(await line.get("/sessions", token)):  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.005)
    return time.perf_counter() - began


Logins = list[dict[str, Any]]


async def log_out(client: httpx.AsyncClient, login: dict[str, Any]) -> None:
    bearer = {"authorization": f"Bearer {login['token']}"}
    assert (await client.post("/auth/logout", headers=bearer)).status_code == 200


async def measure_revocation_delay(
    client: httpx.AsyncClient, lines: list[RawHttpClient], logins: Logins, trials: int
) -> list[float]:
    """Return the seconds from a logout response until each gateway rejects the token."""
    seen: list[float] = []
    for _ in range(trials):
        login = logins.pop()
        assert {await line.get("/sessions", login["token"]) for line in lines} == {200}
        await log_out(client, login)
        began = time.perf_counter()
        seen += await asyncio.gather(
            *(wait_for_status(line, login["token"], lambda s: s == 401, began) for line in lines)
        )
    return seen


@asynccontextmanager
async def delay_proxy(port: int) -> AsyncIterator[tuple[DelayProxy, int]]:
    proxy = DelayProxy(port)
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    yield proxy, server.sockets[0].getsockname()[1]
    server.close()


async def measure(folder: Path) -> Results:
    results = Results()
    port, upstream = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    auth_argv = [sys.executable, parts.__file__, "part", "auth", str(port), str(folder)]
    with ExitStack() as stack, ExitStack() as auth:
        auth.enter_context(parts.process(auth_argv, folder / "auth.log"))
        await asyncio.to_thread(parts.until_answers, f"{url}/health/live")
        async with (
            httpx.AsyncClient(base_url=url, timeout=60) as client,
            delay_proxy(port) as (proxy, door),
        ):
            accounts = [
                {"email": f"bench{number}@example.com", "password": "a long bench password"}
                for number in range(CONCURRENCY)
            ]
            made = [await client.post("/auth/register", json=account) for account in accounts]
            token = made[0].json()["token"]
            logins = await compare(results, client, RawHttpClient(port), token, accounts)
            for number in range(ROUNDS):
                tokens = [logins.pop()["refresh_token"] for _ in accounts]
                results.refreshes.append(await run_refreshes(client, tokens, 4))
                print(f"refreshes {number + 1}/{ROUNDS} {results.refreshes[-1]:.0f}/s")
            await verify(results)

            parts.part(stack, "upstream", upstream, folder)
            gateways = [free_port(), free_port()]
            for own in gateways:
                parts.part(
                    stack, "gateway", own, folder,
                    f"http://127.0.0.1:{door}", f"http://127.0.0.1:{upstream}",
                )  # fmt: skip
            bearer = {"authorization": f"Bearer {token}"}
            for own in gateways:
                await asyncio.to_thread(
                    parts.until_answers, f"http://127.0.0.1:{own}/sessions", bearer
                )
            lines = [RawHttpClient(own) for own in gateways]
            trials = min(TRIALS, (len(logins) - 6) // 2)
            results.seen["normal"] = await measure_revocation_delay(client, lines, logins, trials)
            proxy.delay = SLOW_SECONDS
            results.seen[f"{SLOW_SECONDS * 1e3:.0f} ms delay"] = await measure_revocation_delay(
                client, lines, logins, trials
            )
            proxy.delay = 0.0
            await restart_then_stop(results, client, lines, logins, token, auth, auth_argv, folder)
    return results


async def compare(
    results: Results,
    client: httpx.AsyncClient,
    line: RawHttpClient,
    token: str,
    accounts: list[Account],
) -> Logins:
    logins: Logins = []
    for number in range(ROUNDS):
        until = time.perf_counter() + 3
        results.idle_ms.append(await probe(line, token, lambda: time.perf_counter() > until))  # noqa: B023
        results.bare.append(await bare_bcrypt())
        rate, answers = await run_logins(client, accounts)
        results.logins.append(rate)
        logins += answers
        burst = asyncio.create_task(run_logins(client, accounts))
        await line.get("/auth/me", token)
        results.burst_ms.append(await probe(line, token, burst.done))
        rate, answers = await burst
        results.probed.append(rate)
        logins += answers
        print(
            f"logins {number + 1}/{ROUNDS} {results.logins[-1]:.2f}/s, probed {rate:.2f}/s,"
            f" bare {results.bare[-1]:.2f}/s,"
            f" p99 {percentile(results.burst_ms[-1], 0.99):.2f} ms"
            f" (idle {percentile(results.idle_ms[-1], 0.99):.2f})"
        )
    return logins


async def restart_then_stop(
    results: Results,
    client: httpx.AsyncClient,
    lines: list[RawHttpClient],
    logins: Logins,
    token: str,
    auth: ExitStack,
    argv: list[str],
    folder: Path,
) -> None:
    """Restart auth right after a logout three times, then kill it."""
    refused: Callable[[int], bool] = lambda status: status != 200  # noqa: E731
    passes: Callable[[int], bool] = lambda status: status == 200  # noqa: E731
    seen: list[float] = []

    async def both(about: str, is_it: Callable[[int], bool], began: float) -> list[float]:
        waiting: list[Awaitable[float]] = [
            wait_for_status(line, about, is_it, began) for line in lines
        ]
        return list(await asyncio.gather(*waiting))

    for _ in range(3):
        login = logins.pop()
        await log_out(client, login)
        began = time.perf_counter()
        stopping = asyncio.create_task(asyncio.to_thread(auth.close))
        seen += await both(login["token"], refused, began)
        await stopping
        running = auth.enter_context(parts.process(argv, folder / "auth.log"))
        await asyncio.to_thread(parts.until_answers, f"{client.base_url}/health/live")
        answering = time.perf_counter()
        await both(token, passes, answering)
        results.back.append(time.perf_counter() - answering)
        await both(login["token"], lambda status: status == 401, answering)
    results.seen["restarted"] = seen
    running.kill()
    results.closed = await both(token, lambda status: status == 503, time.perf_counter())


def report(results: Results) -> str:
    ratio = statistics.median(
        ours / bare for ours, bare in zip(results.logins, results.bare, strict=True)
    )
    probed = statistics.median(
        ours / bare for ours, bare in zip(results.probed, results.bare, strict=True)
    )
    p99 = statistics.median(
        percentile(burst, 0.99) / percentile(idle, 0.99)
        for burst, idle in zip(results.burst_ms, results.idle_ms, strict=True)
    )

    def all_of(rounds: list[list[float]], share: float) -> float:
        return percentile([one for taken in rounds for one in taken], share)

    lines = [
        "# Login throughput compared with bcrypt",
        "",
        f"Made by `make bench-auth` on {CORES} cores that the clients share: medians of {ROUNDS}"
        f" interleaved rounds of {LOGINS_PER_ROUND} logins, {CONCURRENCY} at a time."
        " Only ratios within one run are meaningful.",
        "",
        "| | | |",
        "|---|---|---|",
        f"| bare bcrypt, cost 12, {CORES} threads"
        f" | {statistics.median(results.bare):.2f} checks/s | |",
        f"| logins | {statistics.median(results.logins):.2f}/s | **{ratio:.2f}** × bare bcrypt"
        " (goal ≥ 0.9) |",
        f"| logins, with {PROBES_PER_SECOND} `GET /auth/me` per second on the same cores"
        f" | {statistics.median(results.probed):.2f}/s | {probed:.2f} × bare bcrypt |",
        f"| `GET /auth/me`, idle | p50 {all_of(results.idle_ms, 0.5):.2f} ms,"
        f" p99 {all_of(results.idle_ms, 0.99):.2f} ms | |",
        f"| `GET /auth/me` during the logins | p50 {all_of(results.burst_ms, 0.5):.2f} ms,"
        f" p99 {all_of(results.burst_ms, 0.99):.2f} ms | **{p99:.2f}** × idle p99 (goal ≤ 3) |",
        f"| refreshes, {CONCURRENCY} at a time | {statistics.median(results.refreshes):.0f}/s | |",
        f"| tokens signed, one core | {results.signed:.0f}/s | |",
        f"| tokens verified for the first time, one core | {results.verified:.0f}/s | |",
        f"| tokens verified before, one core | {results.verified_from_cache:.0f}/s | |",
        "",
        "## Delay from a logout response until two gateway replicas reject the token",
        "",
        "| auth | trials | p50 s | p99 s | max s (goal ≤ 1) |",
        "|---|---|---|---|---|",
    ]
    for name, seen in results.seen.items():
        lines.append(
            f"| {name} | {len(seen)} | {percentile(seen, 0.5):.2f} | {percentile(seen, 0.99):.2f}"
            f" | **{max(seen):.2f}** |"
        )
    lines += [
        "",
        "Restarted: auth is stopped right after the logout. The gateways reject the token, then all"
        " tokens (503). They accept valid tokens again at most"
        f" {max(results.back):.2f} s after auth responds.",
        f"Killed: {max(results.closed):.2f} s after auth was killed, both respond with 503.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="coach-bench-") as folder:
        results = asyncio.run(measure(Path(folder)))
    text = report(results)
    parts.RESULTS.mkdir(exist_ok=True)
    (parts.RESULTS / "auth.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
