"""Routes of the sessions service compared with SQLAlchemy ORM and plain FastAPI. `make bench-services`.

Both servers use the same tables, the same rows, the same token verifier, uvloop and one process.
wrk measures them in interleaved rounds at 1 and 32 connections, as 64 users. A second part measures
the list for tables and users of different sizes. Needs Debian's package `wrk`.
"""

import asyncio
import math
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import jwt
import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import insert

from coach_common.db.database import Database
from coach_common.db.migrate import upgrade
from coach_common.events.feedback import FeedbackView
from coach_common.ids import new_id
from coach_common.testing.servers import PrivateMariaDB, free_port
from coach_common.tokens import ALGORITHM, TOKEN_TYPE, AccessTokenVerifier
from coach_sessions import store
from coach_sessions.domain import AnswerText, Feedback, Session
from coach_sessions.tables import RECORDINGS, SESSIONS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
GOLDEN = ROOT / "tests" / "contract" / "golden" / "session.judged.json"
CONNECTIONS = (1, 32)
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = int(os.environ.get("SECONDS_EACH", "3"))
USERS = 64
SESSIONS_PER_USER = 50
LIST_SIZES = (100, 10_000, 1_000_000)
SERVERS = ("coach", "orm")
ROUTES = ("POST /sessions", "GET /sessions/{id}", "GET /sessions", "GET /sessions/{id}/feedback")
_ISSUER, _AUDIENCE, _KEY_ID = "genai-coach", "genai-coach-api", "bench"
_ROW_BATCH = 5_000
_START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Sample:
    """Results of one wrk run."""

    rate: float
    p50_ms: float
    p99_ms: float
    failed: int


# --- servers, one process each: `python benchmarks/services.py serve NAME PORT DATABASE_URL KEY`


async def serve(name: str, port: int, database_url: str, key_file: Path) -> None:
    """Run one of the compared servers until SIGTERM."""
    from coach_common import logs, service
    from coach_common.testing.fakes import FakeTransport
    from coach_sessions.app import build
    from coach_sessions.config import SessionsSettings

    logs.configure(level="INFO", json=True)
    tokens = create_verifier(key_file)
    if name == "orm":
        import uvicorn
        from services_orm import create_orm_app

        app = create_orm_app(database_url, tokens)
        await uvicorn.Server(
            uvicorn.Config(app, port=port, loop="uvloop", http="httptools", access_log=False)
        ).serve()
        return
    built = build(SessionsSettings(database_url=database_url), FakeTransport(), tokens=tokens)
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
    return jwt.encode(
        claims, key_file.read_bytes(), ALGORITHM, headers={"kid": _KEY_ID, "typ": TOKEN_TYPE}
    )


# --- rows


def create_rows(
    user_id: UUID, count: int
) -> Iterator[tuple[UUID, dict[str, Any], dict[str, Any]]]:
    """Return session ids with a session row and a recording row each: scored spoken answers."""
    import json

    view = FeedbackView.model_validate(
        json.loads(GOLDEN.read_text())["data"]["feedback"]
    )
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


async def fill(database_url: str, users: dict[UUID, int]) -> dict[UUID, UUID]:
    """Create the tables and each user's number of sessions. Returns one session of each user."""
    database = Database(database_url, source="sessions")
    await upgrade(database, "coach_sessions")
    one_session = {}
    for user_id, count in users.items():
        made = list(create_rows(user_id, count))
        one_session[user_id] = made[count // 2][0]
        async with database.transaction() as tx:
            for start in range(0, count, _ROW_BATCH):
                batch = made[start : start + _ROW_BATCH]
                await tx.execute(insert(SESSIONS), [row for _, row, _ in batch])
                await tx.execute(insert(RECORDINGS), [row for _, _, row in batch])
    await database.close()
    return one_session


# --- load


@contextmanager
def run_server(
    name: str, database_url: str, key_file: Path, folder: Path
) -> Iterator[str]:
    """Run a server in its own process and return its URL."""
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
                    raise SystemExit(f"error: {name} did not start, see {log.name}") from None
                time.sleep(0.1)
        yield url
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


def load(url: str, script: Path, connections: int) -> Sample:
    """Run wrk once."""
    argv = [
        "wrk", "-t1", "--timeout", "10s", f"-c{connections}", f"-d{SECONDS}s", "--latency",
        "-s", str(script), url,
    ]  # fmt: skip
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    return Sample(
        rate=float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]),  # type: ignore[index]
        p50_ms=_ms(re.search(r"\n\s+50%\s+(\S+)", out)[1]),  # type: ignore[index]
        p99_ms=_ms(re.search(r"\n\s+99%\s+(\S+)", out)[1]),  # type: ignore[index]
        failed=(int(bad[1]) if bad else 0) + (sum(map(int, broken.groups())) if broken else 0),
    )


def _ms(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if found is None:
        return math.nan  # no response
    number, unit = found.groups()
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


Results = dict[tuple[str, int, str], list[Sample]]


def measure_routes(urls: dict[str, str], scripts: dict[str, Path]) -> Results:
    """Measure each route on each server in interleaved rounds. The first round is a warm-up."""
    found: Results = {}
    for route, script in scripts.items():
        for connections in CONNECTIONS:
            for number in range(ROUNDS):
                for name, url in urls.items():
                    sample = load(url, script, connections)
                    found.setdefault((route, connections, name), []).append(sample)
                    print(
                        f"{route:28} {connections:3} {name:6} {number + 1}/{ROUNDS}"
                        f" {sample.rate:7.0f}/s p50 {sample.p50_ms:7.2f} p99 {sample.p99_ms:7.2f} ms"
                        f" failed {sample.failed}",
                        file=sys.stderr,
                    )
    return found


def compare(database_url: str, folder: Path) -> Results:
    """Fill the database and measure both servers on it."""
    key_file = folder / "key.pem"
    create_key(key_file)
    users = {new_id(): SESSIONS_PER_USER for _ in range(USERS)}
    ids = asyncio.run(fill(database_url, users))
    tokens = {user_id: issue_token(key_file, user_id) for user_id in users}
    scripts = {}
    for number, route in enumerate(ROUTES[int(os.environ.get("SKIP_ROUTES", "0")):]):
        scripts[route] = folder / f"route{number}.lua"
        write_script(scripts[route], route, tokens, ids)
    with (
        run_server("coach", database_url, key_file, folder) as ours,
        run_server("orm", database_url, key_file, folder) as theirs,
    ):
        urls = dict(zip(SERVERS, (ours, theirs), strict=True))
        check_equal(urls, next(iter(tokens.items())), ids)
        if os.environ.get("ONLY_SERVE"):
            print(urls, folder)
            time.sleep(600)
        return measure_routes(urls, scripts)


def check_equal(urls: dict[str, str], user: tuple[UUID, str], ids: dict[UUID, UUID]) -> None:
    """Check that both servers return the same bodies."""
    user_id, token = user
    for path in ("/sessions", f"/sessions/{ids[user_id]}", f"/sessions/{ids[user_id]}/feedback"):
        bodies = []
        for url in urls.values():
            response = httpx.get(f"{url}{path}", headers={"authorization": f"Bearer {token}"})
            bodies.append(response.json() | {"next_cursor": None})
        if bodies[0] != bodies[1]:
            raise SystemExit(f"error: {path} differs: {bodies[0]} {bodies[1]}")


def main() -> None:
    """Measure and write the report."""
    if shutil.which("wrk") is None:
        raise SystemExit("error: wrk is missing; install Debian's package wrk")
    with tempfile.TemporaryDirectory(prefix="coach-bench-") as directory:
        folder = Path(directory)
        results = compare(f"sqlite:///{folder}/sessions.db", folder)
    for route in ROUTES:
        for connections in CONNECTIONS:
            if (route, connections, "coach") not in results: continue
            ours, theirs = (results[route, connections, name] for name in SERVERS)
            ratio = statistics.median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True))
            p99 = statistics.median(a.p99_ms / b.p99_ms for a, b in zip(ours, theirs, strict=True))
            print(f"{route:30} {connections:3} ratio {ratio:.2f} p99 {p99:.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        uvloop.run(
            serve(sys.argv[2], int(sys.argv[3]), sys.argv[4], Path(sys.argv[5]))
        )
    else:
        main()
