"""Login throughput against plain bcrypt, token rates and revocation latency: `make bench-auth`.

In one run, interleaved: plain bcrypt on all cores, logins, and logins with concurrent cheap
requests. Then token verification, refreshes, and the time from the response to a logout until two
gateway replicas reject the token, with auth unchanged, delayed, restarted and stopped. Each
component is a process with SQLite.
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
DELAY_SECONDS = 0.3
TRIALS = int(os.environ.get("TRIALS", "30"))
Account = dict[str, str]


@dataclass
class Results:
    """All measurements."""

    bcrypt_rates: list[float] = field(default_factory=list)
    logins: list[float] = field(default_factory=list)
    probed_rates: list[float] = field(default_factory=list)
    idle_ms: list[list[float]] = field(default_factory=list)
    burst_ms: list[list[float]] = field(default_factory=list)
    verified: float = 0.0
    verified_cached: float = 0.0
    signed: float = 0.0
    refresh_rates: list[float] = field(default_factory=list)
    revocation_seconds: dict[str, list[float]] = field(default_factory=dict)
    unavailable_seconds: list[float] = field(default_factory=list)
    recovery_seconds: list[float] = field(default_factory=list)


class DelayProxy:
    """TCP proxy between gateways and auth that delays every response by `delay` seconds."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.delay = 0.0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, upstream_writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            self._pump(reader, upstream_writer, False), self._pump(upstream, writer, True)
        )

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_response: bool
    ) -> None:
        call_later = asyncio.get_running_loop().call_later
        with suppress(OSError):
            while data := await source.read(65536):
                call_later(self.delay if is_response else 0, sink.write, data)
        call_later(self.delay, sink.close)


class RawHttpClient:
    """Minimal HTTP client on one connection. A client library would cost more than the request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, token: str) -> int:
        """Return the status of a GET. Reconnects if the connection was closed."""
        if self._streams is not None:
            with suppress(asyncio.IncompleteReadError, OSError):
                return await self._ask(*self._streams, path, token)
        self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return await self._ask(*self._streams, path, token)

    async def _ask(
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


async def measure_bcrypt() -> float:
    """Return password checks per second with one thread per core."""
    stored = bcrypt.hashpw(b"a long bench password", bcrypt.gensalt(12))
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(CORES) as pool:
        started_at = time.perf_counter()
        await asyncio.gather(
            *(
                loop.run_in_executor(pool, bcrypt.checkpw, b"a long bench password", stored)
                for _ in range(LOGINS_PER_ROUND)
            )
        )
        return LOGINS_PER_ROUND / (time.perf_counter() - started_at)


async def probe(http: RawHttpClient, token: str, is_done: Callable[[], bool]) -> list[float]:
    """Return durations of GET /auth/me in milliseconds, started at a constant rate."""
    durations_ms: list[float] = []
    next_probe_at = time.perf_counter()
    while not is_done():
        next_probe_at += 1 / PROBES_PER_SECOND
        await asyncio.sleep(max(0.0, next_probe_at - time.perf_counter()))
        started_at = time.perf_counter()
        status = await http.get("/auth/me", token)
        durations_ms.append((time.perf_counter() - started_at) * 1e3)
        assert status == 200
    return durations_ms


async def run_logins(
    client: httpx.AsyncClient, accounts: list[Account]
) -> tuple[float, list[dict[str, Any]]]:
    """Log in with CONCURRENCY clients. Returns logins per second and the responses."""
    remaining = list(range(LOGINS_PER_ROUND))
    responses: list[dict[str, Any]] = []

    async def client_loop(account: Account) -> None:
        while remaining:
            remaining.pop()
            response = await client.post("/auth/login", json=account)
            assert response.status_code == 200, response.text
            responses.append(response.json())

    started_at = time.perf_counter()
    await asyncio.gather(*(client_loop(account) for account in accounts))
    return LOGINS_PER_ROUND / (time.perf_counter() - started_at), responses


async def run_refreshes(client: httpx.AsyncClient, tokens: list[str], seconds: float) -> float:
    count = 0
    end_at = time.perf_counter() + seconds

    async def client_loop(token: str) -> None:
        nonlocal count
        while time.perf_counter() < end_at:
            response = await client.post("/auth/refresh", json={"refresh_token": token})
            assert response.status_code == 200
            token = response.json()["refresh_token"]
            count += 1

    await asyncio.gather(*(client_loop(token) for token in tokens))
    return count / seconds


async def measure_tokens(results: Results) -> None:
    """Measure on one core: tokens verified, verified again from the cache, and signed."""
    from uuid import UUID

    issuer = TokenIssuer()
    reader = issuer.verifier
    tokens = [issuer.issue(UUID(int=number)) for number in range(1500)]
    for name in ("verified", "verified_cached"):
        started_at = time.perf_counter()
        for token in tokens:
            await reader.verify(token)
        setattr(results, name, len(tokens) / (time.perf_counter() - started_at))
    key, claims = KeyDerivation("s" * 32).new_signing_key(), issuer.claims(UUID(int=1))
    started_at = time.perf_counter()
    for _ in range(500):
        key.sign(claims)
    results.signed = 500 / (time.perf_counter() - started_at)


async def wait_for_status(
    http: RawHttpClient, token: str, is_expected: Callable[[int], bool], started_at: float
) -> float:
    while not is_expected(await http.get("/sessions", token)):  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    return time.perf_counter() - started_at


Logins = list[dict[str, Any]]


async def log_out(client: httpx.AsyncClient, login: dict[str, Any]) -> None:
    bearer = {"authorization": f"Bearer {login['token']}"}
    assert (await client.post("/auth/logout", headers=bearer)).status_code == 200


async def measure_revocation(
    client: httpx.AsyncClient, http_clients: list[RawHttpClient], logins: Logins, trials: int
) -> list[float]:
    """Return the seconds from the response to a logout until each gateway rejects the token."""
    revocation_seconds: list[float] = []
    for _ in range(trials):
        login = logins.pop()
        assert {await http.get("/sessions", login["token"]) for http in http_clients} == {200}
        await log_out(client, login)
        started_at = time.perf_counter()
        revocation_seconds += await asyncio.gather(
            *(
                wait_for_status(http, login["token"], lambda s: s == 401, started_at)
                for http in http_clients
            )
        )
    return revocation_seconds


@asynccontextmanager
async def run_delay_proxy(port: int) -> AsyncIterator[tuple[DelayProxy, int]]:
    proxy = DelayProxy(port)
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    yield proxy, server.sockets[0].getsockname()[1]
    server.close()


async def measure(directory: Path) -> Results:
    results = Results()
    port, upstream = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    auth_argv = [sys.executable, parts.__file__, "part", "auth", str(port), str(directory)]
    with ExitStack() as stack, ExitStack() as auth:
        auth.enter_context(parts.process(auth_argv, directory / "auth.log"))
        await asyncio.to_thread(parts.until_answers, f"{url}/health/live")
        async with (
            httpx.AsyncClient(base_url=url, timeout=60) as client,
            run_delay_proxy(port) as (proxy, proxy_port),
        ):
            accounts = [
                {"email": f"bench{number}@example.com", "password": "a long bench password"}
                for number in range(CONCURRENCY)
            ]
            registered = [await client.post("/auth/register", json=account) for account in accounts]
            token = registered[0].json()["token"]
            logins = await measure_logins(results, client, RawHttpClient(port), token, accounts)
            for number in range(ROUNDS):
                tokens = [logins.pop()["refresh_token"] for _ in accounts]
                results.refresh_rates.append(await run_refreshes(client, tokens, 4))
                print(f"refreshes {number + 1}/{ROUNDS} {results.refresh_rates[-1]:.0f}/s")
            await measure_tokens(results)

            parts.part(stack, "upstream", upstream, directory)
            gateways = [free_port(), free_port()]
            for gateway_port in gateways:
                parts.part(
                    stack, "gateway", gateway_port, directory,
                    f"http://127.0.0.1:{proxy_port}", f"http://127.0.0.1:{upstream}",
                )  # fmt: skip
            bearer = {"authorization": f"Bearer {token}"}
            for gateway_port in gateways:
                await asyncio.to_thread(
                    parts.until_answers, f"http://127.0.0.1:{gateway_port}/sessions", bearer
                )
            http_clients = [RawHttpClient(gateway_port) for gateway_port in gateways]
            trials = min(TRIALS, (len(logins) - 6) // 2)
            results.revocation_seconds["unchanged"] = await measure_revocation(
                client, http_clients, logins, trials
            )
            proxy.delay = DELAY_SECONDS
            results.revocation_seconds[
                f"{DELAY_SECONDS * 1e3:.0f} ms delayed"
            ] = await measure_revocation(client, http_clients, logins, trials)
            proxy.delay = 0.0
            await restart_then_stop(
                results, client, http_clients, logins, token, auth, auth_argv, directory
            )
    return results


async def measure_logins(
    results: Results,
    client: httpx.AsyncClient,
    http: RawHttpClient,
    token: str,
    accounts: list[Account],
) -> Logins:
    logins: Logins = []
    for number in range(ROUNDS):
        end_at = time.perf_counter() + 3
        results.idle_ms.append(await probe(http, token, lambda: time.perf_counter() > end_at))  # noqa: B023
        results.bcrypt_rates.append(await measure_bcrypt())
        rate, responses = await run_logins(client, accounts)
        results.logins.append(rate)
        logins += responses
        burst = asyncio.create_task(run_logins(client, accounts))
        await http.get("/auth/me", token)
        results.burst_ms.append(await probe(http, token, burst.done))
        rate, responses = await burst
        results.probed_rates.append(rate)
        logins += responses
        print(
            f"logins {number + 1}/{ROUNDS} {results.logins[-1]:.2f}/s, probed {rate:.2f}/s,"
            f" plain {results.bcrypt_rates[-1]:.2f}/s,"
            f" p99 {percentile(results.burst_ms[-1], 0.99):.2f} ms"
            f" (idle {percentile(results.idle_ms[-1], 0.99):.2f})"
        )
    return logins


async def restart_then_stop(
    results: Results,
    client: httpx.AsyncClient,
    http_clients: list[RawHttpClient],
    logins: Logins,
    token: str,
    auth: ExitStack,
    argv: list[str],
    directory: Path,
) -> None:
    """Stop auth right after a logout and restart it, three times. Then stop it."""
    is_rejected: Callable[[int], bool] = lambda status: status != 200  # noqa: E731
    is_accepted: Callable[[int], bool] = lambda status: status == 200  # noqa: E731
    revocation_seconds: list[float] = []

    async def wait_for_both(
        probe_token: str, is_expected: Callable[[int], bool], started_at: float
    ) -> list[float]:
        waits: list[Awaitable[float]] = [
            wait_for_status(http, probe_token, is_expected, started_at) for http in http_clients
        ]
        return list(await asyncio.gather(*waits))

    for _ in range(3):
        login = logins.pop()
        await log_out(client, login)
        started_at = time.perf_counter()
        stopping = asyncio.create_task(asyncio.to_thread(auth.close))
        revocation_seconds += await wait_for_both(login["token"], is_rejected, started_at)
        await stopping
        process = auth.enter_context(parts.process(argv, directory / "auth.log"))
        await asyncio.to_thread(parts.until_answers, f"{client.base_url}/health/live")
        responding_at = time.perf_counter()
        await wait_for_both(token, is_accepted, responding_at)
        results.recovery_seconds.append(time.perf_counter() - responding_at)
        await wait_for_both(login["token"], lambda status: status == 401, responding_at)
    results.revocation_seconds["restarted"] = revocation_seconds
    process.kill()
    results.unavailable_seconds = await wait_for_both(
        token, lambda status: status == 503, time.perf_counter()
    )


def report(results: Results) -> str:
    ratio = statistics.median(
        rate / plain for rate, plain in zip(results.logins, results.bcrypt_rates, strict=True)
    )
    probed = statistics.median(
        rate / plain for rate, plain in zip(results.probed_rates, results.bcrypt_rates, strict=True)
    )
    p99 = statistics.median(
        percentile(burst, 0.99) / percentile(idle, 0.99)
        for burst, idle in zip(results.burst_ms, results.idle_ms, strict=True)
    )

    def overall(rounds: list[list[float]], share: float) -> float:
        return percentile([value for durations_ms in rounds for value in durations_ms], share)

    lines = [
        "# Login throughput vs bcrypt",
        "",
        "For developers and reviewers."
        f" Written by `make bench-auth` on {CORES} cores that the clients share: medians of"
        f" {ROUNDS}"
        f" interleaved rounds of {LOGINS_PER_ROUND} logins, {CONCURRENCY} concurrent."
        " Compare only numbers of one run.",
        "",
        "| | | |",
        "|---|---|---|",
        f"| plain bcrypt, cost 12, {CORES} threads"
        f" | {statistics.median(results.bcrypt_rates):.2f} checks/s | |",
        f"| logins | {statistics.median(results.logins):.2f}/s | **{ratio:.2f}** × plain bcrypt"
        " (goal ≥ 0.9) |",
        f"| logins, with {PROBES_PER_SECOND} `GET /auth/me` per second on the same cores"
        f" | {statistics.median(results.probed_rates):.2f}/s | {probed:.2f} × plain bcrypt |",
        f"| `GET /auth/me`, idle | p50 {overall(results.idle_ms, 0.5):.2f} ms,"
        f" p99 {overall(results.idle_ms, 0.99):.2f} ms | |",
        f"| `GET /auth/me` during logins | p50 {overall(results.burst_ms, 0.5):.2f} ms,"
        f" p99 {overall(results.burst_ms, 0.99):.2f} ms | **{p99:.2f}** × idle p99 (goal ≤ 3) |",
        f"| refreshes, {CONCURRENCY} concurrent"
        f" | {statistics.median(results.refresh_rates):.0f}/s | |",
        f"| tokens signed, one core | {results.signed:.0f}/s | |",
        f"| tokens verified for the first time, one core | {results.verified:.0f}/s | |",
        f"| tokens verified from the cache, one core | {results.verified_cached:.0f}/s | |",
        "",
        "## Revocation latency at two gateway replicas",
        "",
        "| auth | trials | p50 s | p99 s | max s (goal ≤ 1) |",
        "|---|---|---|---|---|",
    ]
    for name, delays in results.revocation_seconds.items():
        lines.append(
            f"| {name} | {len(delays)} | {percentile(delays, 0.5):.2f}"
            f" | {percentile(delays, 0.99):.2f} | **{max(delays):.2f}** |"
        )
    lines += [
        "",
        "Restarted: auth stops right after the response. The gateways reject the token, then all"
        " tokens (503). They accept tokens again at most"
        f" {max(results.recovery_seconds):.2f} s after auth responds.",
        f"Stopped: {max(results.unavailable_seconds):.2f} s after auth was killed, both gateways"
        " return 503 to all requests.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="coach-bench-") as directory:
        results = asyncio.run(measure(Path(directory)))
    text = report(results)
    parts.RESULTS.mkdir(exist_ok=True)
    (parts.RESULTS / "auth.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
