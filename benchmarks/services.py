"""Routes of sessions compared with SQLAlchemy ORM and plain FastAPI: `make bench-services`.

Both servers use the same tables and rows, the same token verifier, uvloop and one process. wrk
measures them in interleaved rounds at 1 and 32 connections, as 64 users. A second part measures the
list for tables and users of different sizes. Needs Debian's package `wrk`.
"""

import asyncio
import json
import os
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import jwt
import uvicorn
import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from next_question import build_ai
from services_orm import create_orm_app
from sqlalchemy import insert

from coach_common import logs, service
from coach_common.db.database import Database
from coach_common.db.migrate import upgrade
from coach_common.events.feedback import FeedbackView
from coach_common.ids import new_id
from coach_common.testing.fakes import FakeTransport
from coach_common.testing.servers import free_port
from coach_common.tokens import ALGORITHM, TOKEN_TYPE, AccessTokenVerifier
from coach_sessions import store
from coach_sessions.app import build
from coach_sessions.config import SessionsSettings
from coach_sessions.domain import AnswerText, Feedback, Session
from coach_sessions.tables import RECORDINGS, SESSION_STATS, SESSIONS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
GOLDEN = ROOT / "tests" / "contract" / "golden" / "session.judged.json"
CONNECTIONS = (1, 32)
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS_PER_ROUND = int(os.environ.get("SECONDS_EACH", "2"))
USERS = 64
SESSIONS_PER_USER = 50
LIST_ROWS = (100, 10_000, 1_000_000)
LONG_LIST_SESSIONS = 10_000
LIST_REQUESTS = 200
SERVERS = ("coach", "orm")
ROUTES = ("POST /sessions", "GET /sessions/{id}", "GET /sessions", "GET /sessions/{id}/feedback")
_ISSUER, _AUDIENCE, _KEY_ID = "genai-coach", "genai-coach-api", "bench"
_START = datetime(2026, 1, 1, tzinfo=UTC)
_FILL = """
INSERT INTO sessions (id, user_id, title, created_at, updated_at, status, overall_score,
  published_fingerprints)
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
SELECT randomblob(16), CAST(printf('%016d', n / 50) AS BLOB), 'Mock interview',
  strftime('%Y-%m-%d %H:%M:%S.000000', '2026-01-01', n || ' seconds'),
  '2026-01-01 00:00:00.000000', 'ready', n % 101, '{}'
FROM numbers
"""
"""Inserts sessions of other users, 50 each."""


@dataclass
class Sample:
    """Results of one wrk run."""

    rate: float
    p50_ms: float
    p99_ms: float
    failed: int
    cpu_ms: float
    """Processor time of the server per request."""


Results = dict[tuple[str, int, str], list[Sample]]


async def serve(name: str, port: int, database_url: str, key_file: Path) -> None:
    """Run a server until SIGTERM: sessions (`coach`), its comparison (`orm`), or `ai`."""
    logs.configure(level="INFO", json=True)
    tokens = create_verifier(key_file)
    if name == "orm":
        app = create_orm_app(database_url, tokens)
        await uvicorn.Server(
            uvicorn.Config(app, port=port, loop="uvloop", http="httptools", access_log=False)
        ).serve()
        return
    if name == "ai":
        await _run(build_ai(database_url, tokens), port)
        return
    await _run(
        build(SessionsSettings(database_url=database_url), FakeTransport(), tokens=tokens), port
    )


async def _run(built: service.Service[Any], port: int) -> None:
    async with service.running(built, service.listen("127.0.0.1", port)):
        await service.wait_for_shutdown()


def create_verifier(key_file: Path) -> AccessTokenVerifier:
    """Return a verifier of the tokens that `issue_token` makes."""
    key: Any = serialization.load_pem_private_key(key_file.read_bytes(), password=None)

    async def get_keys(_: str) -> dict[str, Any]:
        return {_KEY_ID: key.public_key()}

    return AccessTokenVerifier(get_keys, issuer=_ISSUER, audience=_AUDIENCE)


def create_key(file: Path) -> None:
    """Write a new private key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def issue_token(key_file: Path, user_id: UUID) -> str:
    """Return an access token that is valid for a day."""
    now = int(time.time())
    claims = {
        "iss": _ISSUER, "aud": _AUDIENCE, "sub": str(user_id), "sid": str(new_id()),
        "jti": str(new_id()), "iat": now, "exp": now + 86_400, "type": "access", "scope": "",
    }  # fmt: skip
    headers = {"kid": _KEY_ID, "typ": TOKEN_TYPE}
    return jwt.encode(claims, key_file.read_bytes(), ALGORITHM, headers=headers)


def create_rows(user_id: UUID, count: int) -> Iterator[tuple[UUID, dict[str, Any], dict[str, Any]]]:
    """Return session ids with a session row and a recording row each: scored spoken answers."""
    view = FeedbackView.model_validate(json.loads(GOLDEN.read_text())["data"]["feedback"])
    for number in range(count):
        at = _START + timedelta(seconds=number)
        key = f"uploads/{user_id}/{number:013}_0a1b2c3d.m4a"
        feedback = Feedback(
            overall_score=random.randrange(101),
            communication_score=view.communication_score,
            technical_score=view.technical_score,
            clarity_score=view.clarity_score,
            strengths=list(view.strengths),
            improvements=list(view.improvements),
            detailed_feedback=view.detailed_feedback,
            evidence=list(view.evidence),
            delivery=view.delivery,
            provider=view.provider or "",
            model=view.model or "",
            rubric_version=view.rubric_version or "",
            generated_at=at,
            main_improvement=view.main_improvement,
            star=view.star,
            answer=AnswerText(view.transcript or "", key),
        )
        session = Session(
            id=new_id(), user_id=user_id, title=f"Mock interview {number}",
            question="Tell me about a conflict with a colleague.",
            created_at=at, updated_at=at, completed_at=at, duration_seconds=95, feedback=feedback,
        )  # fmt: skip
        row = {
            "id": session.id, "user_id": user_id, "title": session.title,
            "question": session.question, "created_at": at, **store._mutable_columns(session),
        }  # fmt: skip
        recording = {
            "key": key, "user_id": user_id, "session_id": session.id,
            "linked_by_event_id": new_id(), "transcript": view.transcript,
            "delivery_metrics": view.delivery.model_dump_json(), "delivery_metrics_complete": True,
        }  # fmt: skip
        yield session.id, row, recording


async def fill(
    database_url: str, users: dict[UUID, int], *, rows_of_others: int = 0
) -> dict[UUID, UUID]:
    """Create the tables and each user's number of sessions. Returns one session of each user."""
    database = Database(database_url, source="sessions")
    await upgrade(database, "coach_sessions")
    one_session = {}
    for user_id, count in users.items():
        made = list(create_rows(user_id, count))
        one_session[user_id] = made[count // 2][0]
        async with database.transaction() as tx:
            await tx.execute(insert(SESSIONS), [row for _, row, _ in made])
            await tx.execute(insert(RECORDINGS), [row for _, _, row in made])
            stats = await store.compute_stats(tx, user_id)
            row = {"user_id": user_id} | {
                name: getattr(stats, name) for name in ("total", "scored", "score_sum")
            }
            await tx.execute(
                insert(SESSION_STATS), row | {"half_difference": stats.half_difference}
            )
    await database.close()
    if rows_of_others > 0:
        path = database_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(_FILL, [rows_of_others])
    return one_session


@dataclass
class Server:
    """A running server."""

    url: str
    process_id: int

    def read_cpu_seconds(self) -> float:
        """Return the processor time that the process has used."""
        numbers = Path(f"/proc/{self.process_id}/stat").read_text().rpartition(")")[2].split()
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def run_server(name: str, database_url: str, key_file: Path, folder: Path) -> Iterator[Server]:
    """Run a server in its own process."""
    port = free_port()
    argv = [sys.executable, __file__, "serve", name, str(port), database_url, str(key_file)]
    with (folder / f"{name}-{port}.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{url}/sessions")
                break
            except httpx.HTTPError:
                if time.monotonic() > deadline or process.poll() is not None:
                    text = Path(log.name).read_text()[-2000:]
                    raise SystemExit(f"error: {name} did not start:\n{text}") from None
                time.sleep(0.1)
        yield Server(url, process.pid)
    finally:
        process.terminate()
        process.wait(20)


def write_script(file: Path, route: str, tokens: dict[UUID, str], ids: dict[UUID, UUID]) -> None:
    """Write the wrk script that calls a route as all users in turn."""
    method, path = route.split()
    body = '{"title": "Mock interview", "question": "Tell me about a conflict."}'
    lines = ["requests = {}"]
    for user_id, token in tokens.items():
        target = path.replace("{id}", str(ids[user_id]))
        lines.append(
            f'requests[#requests + 1] = wrk.format("{method}", "{target}",'
            f' {{["authorization"] = "Bearer {token}", ["content-type"] = "application/json"}},'
            f" {f'{body!r}' if method == 'POST' else 'nil'})"
        )
    lines.append(
        "counter = 0\nrequest = function()\n  counter = counter + 1\n"
        "  return requests[counter % #requests + 1]\nend\n"
    )
    file.write_text("\n".join(lines))


def load(server: Server, script: Path, connections: int) -> Sample:
    """Run wrk once."""
    argv = [
        "wrk", "-t1", "--timeout", "10s", f"-c{connections}", f"-d{SECONDS_PER_ROUND}s",
        "--latency", "-s", str(script), server.url,
    ]  # fmt: skip
    cpu_seconds = server.read_cpu_seconds()
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    cpu_seconds = server.read_cpu_seconds() - cpu_seconds
    requests = int(_search(r"(\d+) requests in", out))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    return Sample(
        rate=float(_search(r"Requests/sec:\s+([\d.]+)", out)),
        p50_ms=_parse_ms(_search(r"\n\s+50%\s+(\S+)", out)),
        p99_ms=_parse_ms(_search(r"\n\s+99%\s+(\S+)", out)),
        failed=(int(bad[1]) if bad else 0) + (sum(map(int, broken.groups())) if broken else 0),
        cpu_ms=cpu_seconds / max(requests, 1) * 1000,
    )


def _search(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"error: wrk printed:\n{text}")
    return match[1]


def _parse_ms(text: str) -> float:
    number, unit = re.findall(r"([\d.]+)(us|ms|s|m)", text)[0]
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


def compare_routes(folder: Path) -> Results:
    """Measure each route on both servers, in interleaved rounds on the same database."""
    key_file = folder / "key.pem"
    database_url = f"sqlite:///{folder}/sessions.db"
    create_key(key_file)
    users = {new_id(): SESSIONS_PER_USER for _ in range(USERS)}
    ids = asyncio.run(fill(database_url, users))
    tokens = {user_id: issue_token(key_file, user_id) for user_id in users}
    results: Results = {}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(run_server(name, database_url, key_file, folder))
            for name in SERVERS
        }
        check_equal(
            {name: one.url for name, one in servers.items()}, next(iter(tokens.items())), ids
        )
        # New sessions come last, so that the lists have the same length in all rounds.
        for route in sorted(ROUTES, key=lambda route: route.startswith("POST")):
            script = folder / "route.lua"
            write_script(script, route, tokens, ids)
            for connections in CONNECTIONS:
                for number in range(ROUNDS):
                    for name, server in servers.items():
                        sample = load(server, script, connections)
                        results.setdefault((route, connections, name), []).append(sample)
                        print(f"{route} {connections} {name} {number} {sample}", file=sys.stderr)
    return results


def check_equal(urls: dict[str, str], user: tuple[UUID, str], ids: dict[UUID, UUID]) -> None:
    """Check that both servers return the same bodies."""
    user_id, token = user
    for path in ("/sessions", f"/sessions/{ids[user_id]}", f"/sessions/{ids[user_id]}/feedback"):
        headers = {"authorization": f"Bearer {token}"}
        first, second = (httpx.get(f"{url}{path}", headers=headers).json() for url in urls.values())
        if first != second:
            raise SystemExit(f"error: {path} differs: {first} {second}")


def measure_lists(folder: Path) -> dict[str, list[float]]:
    """Return the times of lists in milliseconds, interleaved, by size of the table or user."""
    key_file = folder / "key.pem"
    if not key_file.exists():
        create_key(key_file)
    times: dict[str, list[float]] = {}
    with ExitStack() as stack:
        clients: dict[str, httpx.Client] = {}
        sizes = [(rows, SESSIONS_PER_USER) for rows in LIST_ROWS]
        for rows, mine in [*sizes, (LIST_ROWS[1], LONG_LIST_SESSIONS)]:
            name = f"{rows:,} rows, {mine:,} of the user"
            database_url = f"sqlite:///{folder}/list{rows}-{mine}.db"
            user_id = new_id()
            others = max(rows - mine, 0)
            asyncio.run(fill(database_url, {user_id: mine}, rows_of_others=others))
            server = stack.enter_context(run_server("coach", database_url, key_file, folder))
            headers = {"authorization": f"Bearer {issue_token(key_file, user_id)}"}
            clients[name] = stack.enter_context(httpx.Client(base_url=server.url, headers=headers))
        for number in range(LIST_REQUESTS + 20):
            for name, client in clients.items():
                started_at = time.perf_counter()
                response = client.get("/sessions")
                seconds = time.perf_counter() - started_at
                if response.status_code != 200 or len(response.json()["sessions"]) != 50:
                    raise SystemExit(f"error: {name}: {response.text[:300]}")
                if number >= 20:
                    times.setdefault(name, []).append(seconds * 1000)
    return times


def render(results: Results, lists: dict[str, list[float]], load_average: float) -> str:
    """Return the report."""
    lines = [
        "# Sessions service: SQLAlchemy Core on our database layer vs ORM and plain FastAPI",
        "",
        "For developers and reviewers. Written by `make bench-services` on"
        f" {os.cpu_count()} cores that wrk and other programs share"
        f" (load average {load_average:.0f}). SQLite, one process per server, {ROUNDS}"
        f" interleaved rounds of {SECONDS_PER_ROUND} s. A ratio is the median of the rounds'"
        " ratios. Compare only ratios; absolute numbers depend on the load. Processor time depends"
        " on it least: with other programs on all cores, a server with more threads gets more"
        " processor time.",
        "",
        "The other server (`benchmarks/services_orm.py`) has the same responses, the same"
        " durability and the same event per new session. It does not publish that event; ours does."
        " Goals at 32 connections: rate ≥ 2.0, p99 ≤ 0.5.",
        "",
        "| route | connections | requests/s | with ORM | rate ratio | p99 ms | with ORM"
        " | p99 ratio | processor ms per request | with ORM | ORM / ours | failed |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for route in ROUTES:
        for connections in CONNECTIONS:
            ours, theirs = (results[route, connections, name] for name in SERVERS)
            pairs = list(zip(ours, theirs, strict=True))
            rate = statistics.median(mine.rate / max(other.rate, 0.1) for mine, other in pairs)
            p99 = statistics.median(mine.p99_ms / max(other.p99_ms, 0.01) for mine, other in pairs)
            cpu = [statistics.median(one.cpu_ms for one in samples) for samples in (ours, theirs)]
            failed = [sum(one.failed for one in samples) for samples in (ours, theirs)]
            lines.append(
                f"| `{route}` | {connections}"
                f" | {statistics.median(one.rate for one in ours):.0f}"
                f" | {statistics.median(one.rate for one in theirs):.0f} | **{rate:.2f}**"
                f" | {statistics.median(one.p99_ms for one in ours):.1f}"
                f" | {statistics.median(one.p99_ms for one in theirs):.1f} | **{p99:.2f}**"
                f" | {cpu[0]:.2f} | {cpu[1]:.2f} | **{cpu[1] / cpu[0]:.2f}**"
                f" | {failed[0]}, {failed[1]} |"
            )
    base = next(iter(lists.values()))
    lines += [
        "",
        "## The list for tables and users of different sizes",
        "",
        f"`GET /sessions`, first page, one connection, {LIST_REQUESTS} interleaved requests each."
        " The ratio is that of the medians to the first row (goal ≤ 1.2).",
        "",
        "| table | p50 ms | p90 ms | ratio |",
        "|---|---|---|---|",
    ]
    for name, times in lists.items():
        ratio = statistics.median(times) / statistics.median(base)
        p90 = sorted(times)[int(len(times) * 0.9)]
        lines.append(f"| {name} | {statistics.median(times):.2f} | {p90:.2f} | **{ratio:.2f}** |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the report."""
    if shutil.which("wrk") is None:
        raise SystemExit("error: wrk is missing; install Debian's package wrk")
    with tempfile.TemporaryDirectory(prefix="coach-bench-") as directory:
        folder = Path(directory)
        results = compare_routes(folder)
        load_average = os.getloadavg()[0]
        lists = measure_lists(folder)
    report = render(results, lists, load_average)
    print(report)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "services.md").write_text(report)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        uvloop.run(serve(sys.argv[2], int(sys.argv[3]), sys.argv[4], Path(sys.argv[5])))
    else:
        main()
