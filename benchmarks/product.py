"""List, attempts, progress and next question for different sizes: `make bench-product`.

Each size has its own database and server process. Requests to all of them are interleaved, so a
ratio compares times of the same run. SQLite, one process per server, one connection.
"""

import asyncio
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from next_question import fill_answers
from sqlalchemy import insert

from coach_common.db.database import Database
from coach_common.db.migrate import upgrade
from coach_common.ids import new_id
from coach_sessions import progress_store, store
from coach_sessions.attempts import build_question_key
from coach_sessions.tables import RECORDINGS, SESSION_STATS, SESSIONS
from services import RESULTS, create_key, create_rows, issue_token, run_server

ROUNDS = int(os.environ.get("ROUNDS", "5"))
REQUESTS_PER_ROUND = int(os.environ.get("REQUESTS", "300"))
WARM_UP_REQUESTS = 20
MAX_RATIO = 1.5
PRACTICE_DAYS = 30
"""The sessions of a user are spread over the last days, so that all streaks are equally long."""

_LEVELS = ("relevance", "structure", "specificity", "clarity", "delivery")
_FILL_SESSIONS = """
INSERT INTO sessions (id, user_id, title, question_key, created_at, updated_at, completed_at,
  status, overall_score, published_fingerprints)
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
SELECT randomblob(16), CAST(printf('%016d', n / 50) AS BLOB), 'Mock interview', ?,
  strftime('%Y-%m-%d %H:%M:%S.000000', '2026-01-01', n || ' seconds'),
  '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000', 'ready', n % 101, '{}'
FROM numbers
"""
_FILL_ENTRIES = """
INSERT INTO progress_entries (session_id, user_id, created_at, scored_at, practised_at,
  practice_seconds, answer)
SELECT id, user_id, created_at, created_at, completed_at, 95, '{"question": "q"}'
FROM sessions WHERE user_id != ?
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How many sessions the tables have, and how many of them belong to the measured user."""

    rows: int
    own: int

    @property
    def name(self) -> str:
        """The name in the report."""
        return f"{self.rows:,} sessions, {self.own:,} of the user"


ROWS = int(os.environ.get("ROWS", "1000000"))
OWN_ROWS = int(os.environ.get("OWN_ROWS", "10000"))
SIZES = (Size(100, 50), Size(ROWS, 50), Size(ROWS, OWN_ROWS))
SESSION_ROUTES = ("/sessions", "/sessions/{id}/attempts", "/progress")
AI_ROUTES = ("/questions/next",)
ROUTES = SESSION_ROUTES + AI_ROUTES
Times = dict[tuple[str, str], list[list[float]]]
"""Milliseconds of each round, by route and size."""


def create_own_rows(
    user_id: UUID, count: int
) -> Iterator[tuple[UUID, dict[str, Any], dict[str, Any]]]:
    """Return scored attempts at one question, spread over the last days."""
    now = datetime.now(UTC)
    for number, (session_id, row, recording) in enumerate(create_rows(user_id, count)):
        at = now - timedelta(days=PRACTICE_DAYS) * (count - number - 1) / count
        feedback = json.loads(row["feedback"])
        feedback["dimensions"] = [
            {"name": name, "level": 1 + (number + shift) % 5, "weight": 0.2}
            for shift, name in enumerate(_LEVELS)
        ]
        times = {"created_at": at, "updated_at": at, "completed_at": at}
        key = build_question_key(session_id, None, row["question"])
        changed = {"feedback": json.dumps(feedback), "question_key": key}
        yield session_id, row | times | changed, recording


async def fill(database_url: str, user_id: UUID, size: Size) -> UUID:
    """Create the tables with all rows of a size. Returns a session in the middle."""
    database = Database(database_url, source="sessions")
    await upgrade(database, "coach_sessions")
    made = list(create_own_rows(user_id, size.own))
    async with database.transaction() as tx:
        await tx.execute(insert(SESSIONS), [row for _, row, _ in made])
        await tx.execute(insert(RECORDINGS), [row for _, _, row in made])
        for session_id, _, _ in made:
            session = await store.get_session(tx, session_id, user_id=user_id)
            await progress_store.update_progress(tx, session)
        stats = await store.compute_stats(tx, user_id)
        await tx.execute(
            insert(SESSION_STATS),
            {
                "user_id": user_id,
                "total": stats.total,
                "scored": stats.scored,
                "score_sum": stats.score_sum,
                "half_difference": stats.half_difference,
            },
        )
    await database.close()
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
        key = made[0][1]["question_key"].bytes
        connection.execute(_FILL_SESSIONS, [size.rows - size.own, key])
        connection.execute(_FILL_ENTRIES, [user_id.bytes])
        connection.commit()
    return made[size.own // 2][0]


async def fill_ai(database_url: str, user_id: UUID, size: Size) -> UUID:
    """Create the tables of ai with all rows of a size. Returns an id that no route needs."""
    await fill_answers(database_url, user_id, size.rows, size.own)
    return user_id


def measure(
    folder: Path,
    server_name: str,
    routes: tuple[str, ...],
    fill_tables: Callable[[str, UUID, Size], Coroutine[Any, Any, UUID]],
) -> Times:
    """Return the times of each route of a service for each size."""
    key_file = folder / "key.pem"
    create_key(key_file)
    times: Times = {}
    with ExitStack() as stack:
        clients: dict[str, tuple[httpx.Client, UUID]] = {}
        for number, size in enumerate(SIZES):
            user_id = new_id()
            database_url = f"sqlite:///{folder}/{server_name}{number}.db"
            session_id = asyncio.run(fill_tables(database_url, user_id, size))
            server = stack.enter_context(run_server(server_name, database_url, key_file, folder))
            headers = {"authorization": f"Bearer {issue_token(key_file, user_id)}"}
            client = httpx.Client(base_url=server.url, headers=headers, trust_env=False)
            clients[size.name] = stack.enter_context(client), session_id
        for route in routes:
            for number in range(-WARM_UP_REQUESTS, ROUNDS * REQUESTS_PER_ROUND):
                for name, (client, session_id) in clients.items():
                    milliseconds = request(client, route.replace("{id}", str(session_id)))
                    if number < 0:
                        continue
                    rounds = times.setdefault((route, name), [])
                    if number % REQUESTS_PER_ROUND == 0:
                        rounds.append([])
                    rounds[-1].append(milliseconds)
    return times


def request(client: httpx.Client, path: str) -> float:
    """Return how many milliseconds a request took."""
    started_at = time.perf_counter()
    response = client.get(path)
    seconds = time.perf_counter() - started_at
    if response.status_code != 200:
        raise SystemExit(f"error: {path}: {response.text[:300]}")
    return seconds * 1000


def percentile(values: list[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def render(times: Times, load_average: float) -> str:
    """Return the report."""
    lines = [
        "# List, attempts, progress and next question for tables and users of different sizes",
        "",
        "For developers and reviewers. Written by `make bench-product` on"
        f" {os.cpu_count()} cores that other programs share (load average {load_average:.0f})."
        f" SQLite, one connection, {ROUNDS} rounds of {REQUESTS_PER_ROUND} interleaved requests"
        " per size. A ratio is the median over the rounds of the ratio to the first size"
        f" (goal for p99: at most {MAX_RATIO}). All sessions of the user ask one question and are"
        f" spread over {PRACTICE_DAYS} days. For the next question the user answers the"
        " questions of the bank in turn.",
        "",
        "| route | sessions | p50 ms | p99 ms | p50 ratio | p99 ratio |",
        "|---|---|---|---|---|---|",
    ]
    for route in ROUTES:
        base = times[route, SIZES[0].name]
        for size in SIZES:
            rounds = times[route, size.name]
            cells = [
                f"{statistics.median(percentile(one, share) for one in rounds):.2f}"
                for share in (0.5, 0.99)
            ]
            cells += [f"**{ratio(rounds, base, share):.2f}**" for share in (0.5, 0.99)]
            lines.append(f"| `GET {route}` | {size.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def ratio(rounds: list[list[float]], base: list[list[float]], share: float) -> float:
    """Return the median over the rounds of the ratio of two percentiles."""
    return statistics.median(
        percentile(one, share) / percentile(other, share)
        for one, other in zip(rounds, base, strict=True)
    )


def main() -> None:
    """Measure and write the report. Exits with 1 if a p99 misses the goal."""
    with tempfile.TemporaryDirectory(prefix="coach-bench-") as directory:
        folder = Path(directory)
        times = measure(folder, "coach", SESSION_ROUTES, fill)
        times |= measure(folder, "ai", AI_ROUTES, fill_ai)
    report = render(times, os.getloadavg()[0])
    print(report)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "product.md").write_text(report)
    worst = max(
        ratio(times[route, size.name], times[route, SIZES[0].name], 0.99)
        for route in ROUTES
        for size in SIZES
    )
    if worst > MAX_RATIO:
        raise SystemExit(f"error: a p99 ratio is {worst:.2f}, the goal is {MAX_RATIO}")


if __name__ == "__main__":
    main()
