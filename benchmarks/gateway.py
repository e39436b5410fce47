"""Throughput and latency of the gateway compared with nginx. `make bench-gateway`.

Interleaves five variants on the same upstream at 1, 32 and 256 connections: direct, nginx as a
plain proxy, nginx with `auth_request` to a caching verifier, the gateway with real tokens, compiled
as in its image (`make compile`), and the same gateway interpreted, as `make run` runs it. The
upstreams are a bare FastAPI application and the sessions service on SQLite. Needs Debian's packages
`wrk` and `nginx`.
"""

import json
import math
import os
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvloop

from coach_common.testing.servers import free_port

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
CONNECTIONS = (1, 32, 256)
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = int(os.environ.get("SECONDS_EACH", "4"))
# A checkout of an earlier commit, whose gateway is measured in the same run.
COMPARE_WITH = os.environ.get("COMPARE_WITH")
SERVICE_TOKEN = "a token between services"
COMPILED = ROOT / ".compiled" / "packages"
VARIANTS = ("direct", "nginx", "nginx auth_request", "gateway", "interpreted gateway")
if COMPARE_WITH:
    VARIANTS = (*VARIANTS, "earlier gateway")
_TICKS = os.sysconf("SC_CLK_TCK")

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream app {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000; }}
  upstream verifier {{ server 127.0.0.1:{verifier}; keepalive 512; keepalive_requests 1000000; }}
  proxy_http_version 1.1; proxy_set_header Connection "";
  server {{ listen 127.0.0.1:{plain} backlog=1024; location / {{ proxy_pass http://app; }} }}
  server {{
    listen 127.0.0.1:{checked} backlog=1024;
    location / {{ auth_request /verify; proxy_pass http://app; }}
    location = /verify {{
      internal; proxy_pass http://verifier/; proxy_pass_request_body off;
      proxy_set_header Content-Length "";
    }}
  }}
}}
"""


@dataclass
class Target:
    """The URL that wrk requests, and the processes of the hop."""

    url: str
    hops: list[int]


@dataclass
class Sample:
    """Results of one wrk run."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    bad: int


# --- components, one process each: `python benchmarks/gateway.py part NAME PORT …`


async def serve(name: str, port: int, *rest: str) -> None:
    from coach_common import logs, service
    from coach_common.messaging.sqlite_broker import SqliteBroker, SqliteTransport
    from coach_common.testing.fakes import FakeTransport

    logs.configure(level="INFO", json=True)
    listener = service.listen("127.0.0.1", port)
    built: Any
    folder = rest[0]
    if name == "auth":
        from coach_auth.app import build as build_auth
        from coach_auth.config import AuthSettings

        broker = SqliteBroker(f"sqlite:///{folder}/broker-auth.db")
        await broker.open()
        built = build_auth(
            AuthSettings(
                database_url=f"sqlite:///{folder}/auth.db",
                secret_key=load_or_create_secret(Path(folder)),
                service_token=SERVICE_TOKEN,
            ),
            SqliteTransport(broker),
        )
        await service.upgrade(built)
    elif name == "sessions":
        from coach_sessions.app import build as build_sessions
        from coach_sessions.config import SessionsSettings

        broker = SqliteBroker(f"sqlite:///{folder}/broker-sessions.db")
        await broker.open()
        built = build_sessions(
            SessionsSettings(database_url=f"sqlite:///{folder}/sessions.db", auth_url=rest[1]),
            SqliteTransport(broker),
        )
        await service.upgrade(built)
    elif name == "gateway":
        from coach_gateway.app import build as build_gateway
        from coach_gateway.config import GatewaySettings

        built = build_gateway(
            GatewaySettings(
                service_token=SERVICE_TOKEN,
                auth_url=rest[1],
                sessions_url=rest[2],
                media_url=rest[2],
                ai_url=rest[2],
                requests_per_minute=10**9,
                max_in_flight_per_client=10**6,  # wrk is one user
            ),
            FakeTransport(),
        )
    else:
        from coach_common.config import Settings
        from coach_common.service import Service

        app = application() if name == "upstream" else verifier(rest[1])
        built = Service(name, app, Settings(), FakeTransport(), deps=None)
    async with service.running(built, listener):
        await service.wait_for_shutdown()


def application() -> Any:
    """A FastAPI application with one typed route."""
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Session(BaseModel):
        id: str
        title: str
        status: str
        score: float | None

    class Sessions(BaseModel):
        sessions: list[Session]
        next_cursor: str | None

    app = FastAPI()

    @app.get("/sessions")
    async def sessions() -> Sessions:
        one = Session(id="0" * 32, title="A hard problem", status="ready", score=77.5)
        return Sessions(sessions=[one], next_cursor=None)

    return app


def verifier(auth_url: str) -> Any:
    """A minimal token verifier for nginx in pure ASGI, with a cache."""
    from coach_common.config import TokenSettings
    from coach_common.errors import Unauthenticated
    from coach_common.tokens import AccessTokenVerifier

    reader = AccessTokenVerifier.from_settings(TokenSettings(auth_url=auth_url))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        try:
            await reader.verify(header.removeprefix(b"Bearer ").decode())
            status = 204
        except Unauthenticated:
            status = 401
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


# --- the run


@contextmanager
def process(
    argv: list[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as lines:
        started = subprocess.Popen(argv, stdout=lines, stderr=lines, env=environment)
    try:
        yield started
    finally:
        started.terminate()
        started.wait(20)


def run_component(
    stack: ExitStack, name: str, port: int, folder: Path, *rest: str, sources: str | None = None
) -> int:
    """Start a component, with the code of `sources` or else of this checkout."""
    argv = [sys.executable, __file__, "part", name, str(port), str(folder), *rest]
    environment = os.environ | ({} if sources is None else {"PYTHONPATH": sources})
    return stack.enter_context(process(argv, folder / f"{name}-{port}.log", environment)).pid


def gateway_sources() -> dict[str, str | None]:
    """Return the PYTHONPATH of each measured gateway. None: that of this checkout."""
    sources: dict[str, str | None] = {"gateway": str(COMPILED), "interpreted gateway": None}
    if COMPARE_WITH:
        checkout = Path(COMPARE_WITH)
        sources["earlier gateway"] = ":".join(
            str(path) for path in sorted(checkout.glob("*/*/src"))
        )
    return sources


def load_or_create_secret(folder: Path) -> str:
    """Return the secret of a folder, so that a restarted auth can read its signing keys."""
    kept = folder / "secret"
    if not kept.exists():
        kept.write_text(secrets.token_urlsafe(32))
    return kept.read_text()


def wait_until_ready(url: str, headers: dict[str, str] | None = None) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, headers=headers).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"error: {url} does not respond")


def cpu_seconds(pids: list[int]) -> float:
    total = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in listed]


def load(target: Target, path: str, connections: int, token: str) -> Sample:
    before = cpu_seconds(target.hops)
    out = subprocess.run(
        [
            "wrk", "-t1", "--timeout", "10s", f"-c{connections}", f"-d{SECONDS}s", "--latency",
            "-H", f"Authorization: Bearer {token}", f"{target.url}{path}",
        ],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    spent = cpu_seconds(target.hops) - before
    count = int(re.search(r"(\d+) requests in", out)[1])  # type: ignore[index]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    return Sample(
        rate=float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]),  # type: ignore[index]
        p50_ms=_ms(re.search(r"\n\s+50%\s+(\S+)", out)[1]),  # type: ignore[index]
        p99_ms=_ms(re.search(r"\n\s+99%\s+(\S+)", out)[1]),  # type: ignore[index]
        cpu_us=spent / max(1, count) * 1e6,
        bad=(int(bad[1]) if bad else 0) + (sum(map(int, broken.groups())) if broken else 0),
    )


def _ms(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if found is None:
        return math.nan  # nothing was answered
    number, unit = found.groups()
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


Results = dict[tuple[str, str, int], list[Sample]]


def measure(folder: Path) -> Results:
    found: Results = {}
    with ExitStack() as stack:
        ports = {name: free_port() for name in ("auth", "upstream", "sessions", "verifier")}
        auth_url = f"http://127.0.0.1:{ports['auth']}"
        run_component(stack, "auth", ports["auth"], folder)
        wait_until_ready(f"{auth_url}/health/live")
        account = {"email": "bench@example.com", "password": "a long bench password"}
        token = httpx.post(f"{auth_url}/auth/register", json=account, timeout=30).json()["token"]
        headers = {"authorization": f"Bearer {token}"}
        run_component(stack, "upstream", ports["upstream"], folder)
        run_component(stack, "sessions", ports["sessions"], folder, auth_url)
        verifying = run_component(stack, "verifier", ports["verifier"], folder, auth_url)
        targets: dict[str, dict[str, Target]] = {}
        for upstream in ("upstream", "sessions"):
            url = f"http://127.0.0.1:{ports[upstream]}"
            wait_until_ready(f"{url}/sessions", headers)
            plain, checked = free_port(), free_port()
            own = folder / f"nginx-{upstream}"
            own.mkdir()
            (own / "nginx.conf").write_text(
                NGINX.format(
                    folder=own, upstream=ports[upstream], verifier=ports["verifier"],
                    plain=plain, checked=checked,
                )
            )  # fmt: skip
            argv = [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(own / "nginx.conf")]
            master = stack.enter_context(process(argv, own / "log")).pid
            wait_until_ready(f"http://127.0.0.1:{checked}/sessions", headers)
            workers = children(master)
            targets[upstream] = {
                "direct": Target(url, []),
                "nginx": Target(f"http://127.0.0.1:{plain}", workers),
                "nginx auth_request": Target(f"http://127.0.0.1:{checked}", [*workers, verifying]),
            }
            for name, sources in gateway_sources().items():
                port = free_port()
                pid = run_component(stack, "gateway", port, folder, auth_url, url, sources=sources)
                wait_until_ready(f"http://127.0.0.1:{port}/sessions", headers)
                targets[upstream][name] = Target(f"http://127.0.0.1:{port}", [pid])
        if os.environ.get("ONLY_SERVE"):
            print(json.dumps({n: {v: t.url for v, t in ts.items()} for n, ts in targets.items()}))
            print(token)
            time.sleep(600)
        for upstream, variants in targets.items():
            for connections in CONNECTIONS:
                for number in range(ROUNDS):
                    for name, target in variants.items():
                        sample = load(target, "/sessions", connections, token)
                        found.setdefault((upstream, name, connections), []).append(sample)
                        print(
                            f"{upstream:9} {connections:4} {name:18} {number + 1}/{ROUNDS}"
                            f" {sample.rate:8.0f}/s p99 {sample.p99_ms:7.2f} ms"
                            f" {sample.cpu_us:5.0f} us bad {sample.bad}",
                            file=sys.stderr,
                        )
    return found


def median(found: Results, key: tuple[str, str, int], of: Callable[[Sample], float]) -> float:
    return statistics.median(of(sample) for sample in found[key])


def paired_ratio(found: Results, upstream: str, connections: int, other: str) -> float:
    """Return the median of the ratios per round, because a disturbance affects both."""
    ours, theirs = (found[upstream, name, connections] for name in ("gateway", other))
    return statistics.median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True))


def report(found: Results) -> str:
    lines = [
        "# Gateway vs nginx",
        "",
        "For developers and reviewers."
        " Written by `make bench-gateway`. wrk, the hop and the upstream share two cores. Medians"
        " of"
        f" {ROUNDS} interleaved rounds of {SECONDS} s. Only ratios within one run are comparable."
        " `CPU` is user and system time of the hop (nginx and, with auth_request, its verifier)"
        " per request. The gateway does all of its work: tokens, revocations,"
        " rate limits, rebuilt headers, metrics, a log line. It is compiled as in its image"
        " (`make compile`). `interpreted gateway` is the same code as `make run` runs it.",
    ]
    titles = {"upstream": "A bare FastAPI application", "sessions": "The sessions service"}
    for upstream, title in titles.items():
        lines += ["", f"## {title}", ""]
        lines += [
            "| connections | | requests/s | p50 ms | p99 ms | CPU µs | failed |",
            "|---|---|---|---|---|---|---|",
        ]
        for connections in CONNECTIONS:
            for name in VARIANTS:
                key = (upstream, name, connections)
                lines.append(
                    f"| {connections} | {name} | {median(found, key, lambda s: s.rate):.0f}"
                    f" | {median(found, key, lambda s: s.p50_ms):.2f}"
                    f" | {median(found, key, lambda s: s.p99_ms):.2f}"
                    f" | {median(found, key, lambda s: s.cpu_us):.0f}"
                    f" | {sum(sample.bad for sample in found[key])} |"
                )
        lines += [
            "",
            "| connections | gateway / nginx | gateway / nginx auth_request | p99 / nginx's"
            + (" | gateway / earlier gateway |" if COMPARE_WITH else " |"),
            "|---|---|---|---|" + ("---|" if COMPARE_WITH else ""),
        ]
        for connections in CONNECTIONS:
            p99 = statistics.median(
                ours.p99_ms / theirs.p99_ms
                for ours, theirs in zip(
                    found[upstream, "gateway", connections],
                    found[upstream, "nginx", connections],
                    strict=True,
                )
            )
            lines.append(
                f"| {connections} | {paired_ratio(found, upstream, connections, 'nginx'):.2f}"
                f" | {paired_ratio(found, upstream, connections, 'nginx auth_request'):.2f}"
                f" | {p99:.2f} |"
                + (
                    f" {paired_ratio(found, upstream, connections, 'earlier gateway'):.2f} |"
                    if COMPARE_WITH
                    else ""
                )
            )
    return "\n".join([*lines, "", "![requests a second](gateway.svg)", ""])


def plot(found: Results, file: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    for row, (upstream, title) in enumerate(
        (("upstream", "A bare FastAPI application"), ("sessions", "The sessions service"))
    ):
        for column, (label, of) in enumerate(
            (("requests/s", lambda s: s.rate), ("p99, ms", lambda s: s.p99_ms))
        ):
            axis = axes[row][column]
            for number, name in enumerate(VARIANTS):
                heights = [median(found, (upstream, name, count), of) for count in CONNECTIONS]
                places = [place + (number - 2) * 0.16 for place in range(len(CONNECTIONS))]
                axis.bar(places, heights, 0.15, label=name)
            axis.set_xticks(range(len(CONNECTIONS)), [str(count) for count in CONNECTIONS])
            axis.set_xlabel("connections")
            axis.set_ylabel(label)
            axis.set_title(title)
            if column:
                axis.set_yscale("log")
    axes[0][0].legend()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    for program in ("wrk", "nginx"):
        if shutil.which(program) is None and not Path(f"/usr/sbin/{program}").exists():
            raise SystemExit(f"error: {program} is missing; install Debian's package {program}")
    with tempfile.TemporaryDirectory(prefix="coach-bench-") as folder:
        found = measure(Path(folder))
    RESULTS.mkdir(exist_ok=True)
    text = report(found)
    (RESULTS / "gateway.md").write_text(text)
    plot(found, RESULTS / "gateway.svg")
    print(text)


if __name__ == "__main__":
    if sys.argv[1:2] == ["part"]:
        uvloop.run(serve(sys.argv[2], int(sys.argv[3]), *sys.argv[4:]))
    else:
        main()
