"""For developers: the ai server and the tables that `make bench-product` measures.

The server has no providers and does no work but requests.
"""

import itertools
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import insert

from coach_ai.app import build
from coach_ai.config import AiSettings
from coach_ai.deps import Deps
from coach_ai.practice.schedule import MAX_REVIEWS, Review, compute_schedule
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.tables import QUESTION_CARDS, QUESTION_REVIEWS, QUESTIONS
from coach_common.db.database import Database
from coach_common.db.migrate import upgrade
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeTransport
from coach_common.tokens import AccessTokenVerifier

SCORES = (35, 55, 70, 90)
_FILL = (
    """
INSERT INTO session_questions (session_id, user_id, question_id)
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
SELECT randomblob(16), CAST(printf('%016d', n / 50) AS BLOB), 'question-' || n % 50 FROM numbers
""",
    """
INSERT INTO question_reviews (user_id, question_id, answer_id, answered_at, score, gaps)
SELECT user_id, question_id, session_id, '2026-01-01 00:00:00.000000', 50, '[]'
FROM session_questions WHERE user_id != ?
""",
    """
INSERT INTO question_cards (user_id, question_id, competence, state, step, stability_days,
  difficulty, due_at, reviewed_at, last_score)
SELECT DISTINCT user_id, question_id, 'databases', 2, NULL, 2.0, 5.0,
  '2026-01-03 00:00:00.000000', '2026-01-01 00:00:00.000000', 50
FROM session_questions WHERE user_id != ?
""",
)


class IdleProvider:
    """A transcriber, scorer and chat that are never used."""

    async def warm_up(self) -> None:
        """Do nothing."""

    async def check(self) -> None:
        """Report no problem."""

    async def close(self) -> None:
        """Do nothing."""


def build_ai(database_url: str, tokens: AccessTokenVerifier) -> Service[Deps]:
    """Return the ai service without providers."""
    idle: Any = IdleProvider()
    settings = AiSettings(
        database_url=database_url,
        aws_access_key_id="a",
        aws_secret_access_key="s",
        s3_bucket_name="b",
        s3_endpoint_url="http://127.0.0.1:9",
        ai_provider="local",
    )
    return build(settings, FakeTransport(), tokens=tokens, transcriber=idle, scorer=idle, chat=idle)


async def fill_answers(database_url: str, user_id: UUID, rows: int, own: int) -> None:
    """Create the tables with `rows` answers, of which `own` belong to the measured user.

    The user answers the questions of the bank in turn.
    """
    database = Database(database_url, source="ai")
    await upgrade(database, "coach_ai")
    now = datetime.now(UTC)
    asked = list(itertools.islice(itertools.cycle(load_question_bank().values()), own))
    sessions = [(new_id(), question) for question in asked]
    reviews: dict[str, list[Review]] = {}
    for number, (session_id, question) in enumerate(sessions):
        at = now - timedelta(days=60) * (own - number) / own
        reviews.setdefault(question.id, []).append(
            Review(session_id, at, SCORES[number % len(SCORES)])
        )
    async with database.transaction() as tx:
        await tx.execute(
            insert(QUESTIONS),
            [
                {"session_id": session_id, "user_id": user_id, "question_id": question.id}
                for session_id, question in sessions
            ],
        )
        for question_id, answered in reviews.items():
            kept = answered[-MAX_REVIEWS:]
            await tx.execute(
                insert(QUESTION_REVIEWS),
                [
                    {
                        "user_id": user_id,
                        "question_id": question_id,
                        "answer_id": one.answer_id,
                        "answered_at": one.answered_at,
                        "score": one.score,
                        "gaps": '["part:result"]',
                    }
                    for one in kept
                ],
            )
            await tx.execute(insert(QUESTION_CARDS), _make_card(user_id, question_id, kept))
    await database.close()
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
        connection.execute(_FILL[0], [rows - own])
        for statement in _FILL[1:]:
            connection.execute(statement, [user_id.bytes])
        connection.commit()


def _make_card(user_id: UUID, question_id: str, reviews: list[Review]) -> Mapping[str, Any]:
    schedule = compute_schedule(reviews)
    return {
        "user_id": user_id,
        "question_id": question_id,
        "competence": load_question_bank()[question_id].competence,
        "state": schedule.state,
        "step": schedule.step,
        "stability_days": schedule.stability_days,
        "difficulty": schedule.difficulty,
        "due_at": schedule.due_at,
        "reviewed_at": schedule.reviewed_at,
        "last_score": schedule.last_score,
    }
