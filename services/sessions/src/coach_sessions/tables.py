"""The tables of sessions."""

from sqlalchemy import Boolean, Column, Index, Integer, String, Table

from coach_common.db.deletion_log import deletions_table
from coach_common.db.tables import (
    Id,
    LongText,
    UtcDateTime,
    inbox_table,
    new_metadata,
    outbox_table,
    tombstones_table,
)
from coach_sessions.kind import SessionKind

METADATA = new_metadata()

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    # `practice` or `interview`. Ai owns an interview, whose id is the same there.
    Column("kind", String(16), nullable=False, server_default=SessionKind.PRACTICE.value),
    Column("title", String(200), nullable=False),
    Column("question", LongText, nullable=True),
    Column("question_id", String(64), nullable=True),
    # The same for all attempts at a question.
    Column("question_key", Id, nullable=True),
    Column("seniority", String(16), nullable=True),
    Column("role", String(200), nullable=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("completed_at", UtcDateTime, nullable=True),
    Column("duration_seconds", Integer, nullable=True),
    Column("client_transcript", LongText, nullable=True),
    # A key that the client named before the upload was known.
    Column("requested_key", String(160), nullable=True),
    Column("feedback", LongText, nullable=True),
    Column("failure_id", Id, nullable=True),
    Column("failure_reason", LongText, nullable=True),
    Column("failure_is_final", Boolean, nullable=True),
    Column("failure_is_restartable", Boolean, nullable=True),
    # Derived from the facts; stored so that lists and statistics are plain queries.
    Column("status", String(32), nullable=False),
    Column("overall_score", Integer, nullable=True),
    Column("published_fingerprints", LongText, nullable=False),
    # The user's own rating of the answer, and when the user first read the score.
    Column("self_rating", Integer, nullable=True),
    Column("self_rated_at", UtcDateTime, nullable=True),
    Column("revealed_at", UtcDateTime, nullable=True),
    # When the repair sweep checks the session; null if it waits for nothing.
    Column("repair_after", UtcDateTime, nullable=True),
    Index("ix_sessions_user_id_created_at_id", "user_id", "created_at", "id"),
    Index("ix_sessions_user_id_kind", "user_id", "kind", "created_at", "id"),
    Index("ix_sessions_attempts", "user_id", "question_key", "created_at", "id", "overall_score"),
    # Contains all columns that the statistics are computed from.
    Index("ix_sessions_scores", "user_id", "created_at", "id", "overall_score"),
    Index("ix_sessions_requested_key", "requested_key"),
    Index("ix_sessions_repair_after", "repair_after"),
)

RECORDINGS = Table(
    "recordings",
    METADATA,
    Column("key", String(160), primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("session_id", Id, nullable=True),
    Column("linked_by_event_id", Id, nullable=True),
    Column("transcript", LongText, nullable=True),
    # DeliveryMetrics as JSON.
    Column("delivery_metrics", LongText, nullable=True),
    # False while only acoustic metrics are stored.
    Column("delivery_metrics_complete", Boolean, nullable=True),
    Column("failure_id", Id, nullable=True),
    Column("failure_reason", LongText, nullable=True),
    Column("failure_is_final", Boolean, nullable=True),
    Column("failure_is_restartable", Boolean, nullable=True),
    Index("ix_recordings_session_id", "session_id"),
    Index("ix_recordings_user_id", "user_id"),
)

# Derived from the sessions of a user, so that a list needs one row for its statistics.
SESSION_STATS = Table(
    "session_stats",
    METADATA,
    Column("user_id", Id, primary_key=True),
    Column("total", Integer, nullable=False),
    Column("scored", Integer, nullable=False),
    Column("score_sum", Integer, nullable=False),
    # Sum of the scores of the newer half minus sum of those of the older half.
    Column("half_difference", Integer, nullable=False),
)

# What progress needs of each completed session. Equal to what its session yields.
PROGRESS_ENTRIES = Table(
    "progress_entries",
    METADATA,
    Column("session_id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # `created_at` of a scored session, else null.
    Column("scored_at", UtcDateTime, nullable=True),
    Column("practised_at", UtcDateTime, nullable=False),
    Column("practice_seconds", Integer, nullable=False),
    Column("self_rating", Integer, nullable=True),
    # ScoredAnswer as JSON; null without a score.
    Column("answer", LongText, nullable=True),
    Index("ix_progress_entries_user_id_scored_at", "user_id", "scored_at", "session_id"),
)

# Completed sessions of a user and their duration.
PROGRESS_TOTALS = Table(
    "progress_totals",
    METADATA,
    Column("user_id", Id, primary_key=True),
    Column("sessions", Integer, nullable=False),
    Column("seconds", Integer, nullable=False),
)

# Practice per UTC day, for the streak in every time zone.
PRACTICE_DAYS = Table(
    "practice_days",
    METADATA,
    Column("user_id", Id, primary_key=True),
    # Days since 1970.
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("seconds", Integer, nullable=False),
    # Completed sessions per quarter of an hour, as JSON.
    Column("quarters", String(2048), nullable=False),
)

OUTBOX = outbox_table(METADATA)
INBOX = inbox_table(METADATA)
TOMBSTONES = tombstones_table(METADATA)
DELETIONS = deletions_table(METADATA)
