"""The tables of ai."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    false,
)

from coach_common.db.consents import consents_table
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

METADATA = new_metadata()

RECORDINGS = Table(
    "recordings",
    METADATA,
    Column("upload_id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("key", String(160), nullable=False),
    Column("session_id", Id, nullable=True),
    Column("etag", String(128), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    # A Transcript as JSON, with its words and silences.
    Column("transcript", LongText, nullable=True),
    Column("has_failed", Boolean, nullable=False),
    # Whether it failed for another reason than the recording itself.
    Column("is_restartable", Boolean, nullable=False, server_default=false()),
    # Why it can never be transcribed, for the user.
    Column("failure_reason", LongText, nullable=True),
    # When it was transcribed or has failed.
    Column("finished_at", UtcDateTime, nullable=True),
    UniqueConstraint("key"),
    Index("ix_recordings_user_id", "user_id"),
    Index("ix_recordings_session_id", "session_id"),
)

ANSWERS = Table(
    "answers",
    METADATA,
    Column("session_id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("title", String(200), nullable=False),
    Column("question", LongText, nullable=True),
    Column("duration_seconds", Integer, nullable=True),
    Column("audio_s3_key", String(160), nullable=True),
    Column("client_transcript", LongText, nullable=True),
    # A Feedback as JSON. It is written once.
    Column("feedback", LongText, nullable=True),
    Column("scored_at", UtcDateTime, nullable=True),
    # Whether scoring failed because of the answer itself.
    Column("has_failed", Boolean, nullable=False, server_default=false()),
    # The text that was scored, and its recording; no key if the client sent the text.
    Column("scored_transcript", LongText, nullable=True),
    Column("scored_key", String(160), nullable=True),
    Index("ix_answers_user_id_scored_at", "user_id", "scored_at"),
    Index("ix_answers_audio_s3_key", "audio_s3_key"),
)

# What a session asks, from its creation. Written once.
QUESTIONS = Table(
    "session_questions",
    METADATA,
    Column("session_id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("question", LongText, nullable=True),
    Column("role", String(200), nullable=True),
    Column("question_id", String(64), nullable=True),
    Column("seniority", String(16), nullable=True),
    # A copy of the Question as JSON, so that later edits of it change no score.
    Column("reference", LongText, nullable=True),
    Index("ix_session_questions_user_id_session_id", "user_id", "session_id"),
)

OWN_QUESTIONS = Table(
    "own_questions",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    # A Question as JSON.
    Column("content", LongText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_own_questions_user_id_id", "user_id", "id"),
)

# Tokens and cost of each scored session. Rows outlive their session, so that deleting a session
# does not restore budget.
SCORING_USAGE = Table(
    "scoring_usage",
    METADATA,
    Column("session_id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("scored_at", UtcDateTime, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("model", String(80), nullable=True),
    Column("prompt_version", String(16), nullable=True),
    Column("tokens_in", Integer, nullable=True),
    Column("tokens_out", Integer, nullable=True),
    # In millionths of a US dollar. Null if the model has no configured price.
    Column("cost_microdollars", BigInteger, nullable=True),
    Index("ix_scoring_usage_user_id_scored_at", "user_id", "scored_at"),
)

# Tokens that a user has spent and reserved on the latest day with a request.
BUDGETS = Table(
    "budgets",
    METADATA,
    Column("user_id", Id, primary_key=True),
    Column("day", Date, nullable=False),
    Column("tokens", BigInteger, nullable=False),
)

JOBS = Table(
    "jobs",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("subject_id", Id, nullable=False),
    Column("user_id", Id, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("run_after", UtcDateTime, nullable=False),
    Column("lease_token", Id, nullable=True),
    Column("lease_until", UtcDateTime, nullable=True),
    # The replica that holds the lease. Its next process releases what it left.
    Column("lease_owner", String(128), nullable=True),
    # Claims since the last attempt that the job itself ended.
    Column("claims", Integer, nullable=False),
    # Attempts that the job itself ended without a result, and the time that they took.
    Column("tries", Integer, nullable=False),
    Column("retried_seconds", Float, nullable=False, server_default="0"),
    Column("reason", LongText, nullable=True),
    # The trace context of the request or event that queued it last.
    Column("traceparent", String(55), nullable=True),
    UniqueConstraint("kind", "subject_id"),
    Index("ix_jobs_kind_run_after", "kind", "run_after"),
    Index("ix_jobs_user_id", "user_id"),
)

CONVERSATIONS = Table(
    "conversations",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("title", String(80), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    # Summary of the older messages, and the id of the last message it covers.
    Column("summary", LongText, nullable=True),
    Column("summarised_up_to_id", Id, nullable=True),
    Index("ix_conversations_user_id_updated_at_id", "user_id", "updated_at", "id"),
)

MESSAGES = Table(
    "messages",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("conversation_id", Id, nullable=False),
    Column("user_id", Id, nullable=False),
    Column("role", String(16), nullable=False),
    Column("text", LongText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_messages_conversation_id_id", "conversation_id", "id"),
    Index("ix_messages_user_id", "user_id"),
)

INTERVIEWS = Table(
    "interviews",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    # The setup and the plan as JSON. Written once.
    Column("setup", LongText, nullable=False),
    Column("plan", LongText, nullable=False),
    Column("status", String(16), nullable=False),
    # The question that is open, and the stored turns.
    Column("question_number", Integer, nullable=False),
    Column("turn_count", Integer, nullable=False),
    # An Assessment as JSON.
    Column("assessment", LongText, nullable=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("completed_at", UtcDateTime, nullable=True),
    # When the sweep publishes the state again; null after the last time.
    Column("republish_after", UtcDateTime, nullable=True),
    Index("ix_interviews_user_id_id", "user_id", "id"),
    Index("ix_interviews_republish_after", "republish_after"),
)

INTERVIEW_TURNS = Table(
    "interview_turns",
    METADATA,
    Column("interview_id", Id, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("user_id", Id, nullable=False),
    Column("idempotency_key", String(128), nullable=True),
    Column("audio_s3_key", String(160), nullable=True),
    # A Turn as JSON.
    Column("content", LongText, nullable=False),
    UniqueConstraint("interview_id", "idempotency_key"),
    UniqueConstraint("audio_s3_key"),
    Index("ix_interview_turns_user_id", "user_id"),
)

# The second scoring of an answer whose score the user disputes.
DISPUTES = Table(
    "disputes",
    METADATA,
    Column("session_id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    # The user's words. The second scoring does not see them.
    Column("reason", LongText, nullable=True),
    Column("status", String(16), nullable=False),
    # A Feedback as JSON.
    Column("second", LongText, nullable=True),
    Column("outcome", String(16), nullable=True),
    Column("failure_reason", LongText, nullable=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime, nullable=True),
    Index("ix_disputes_user_id", "user_id"),
    Index("ix_disputes_outcome", "outcome"),
)

# The latest rewrite of each scored answer.
REWRITES = Table(
    "rewrites",
    METADATA,
    Column("session_id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    # Digest of the feedback and the text that it was made from.
    Column("source_digest", String(64), nullable=False),
    # A Rewrite as JSON.
    Column("content", LongText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_rewrites_user_id", "user_id"),
)

# Whether a user has agreed to an outside provider. No row: the user has not decided.
CONSENTS = consents_table(METADATA, "consents")

# Whether a user has agreed that the data is used for others as well.
IMPROVEMENT_CONSENTS = consents_table(METADATA, "improvement_consents")

PROFILES = Table(
    "profiles",
    METADATA,
    Column("user_id", Id, primary_key=True),
    # A Profile as JSON.
    Column("content", LongText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

# When a question is due again for a user. Computed from QUESTION_REVIEWS.
QUESTION_CARDS = Table(
    "question_cards",
    METADATA,
    Column("user_id", Id, primary_key=True),
    Column("question_id", String(64), primary_key=True),
    Column("competence", String(64), nullable=False),
    # The card of the scheduler `fsrs`: its state, step, stability in days and difficulty.
    Column("state", Integer, nullable=False),
    Column("step", Integer, nullable=True),
    Column("stability_days", Float, nullable=False),
    Column("difficulty", Float, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("reviewed_at", UtcDateTime, nullable=False),
    Column("last_score", Integer, nullable=False),
)

# The score of each answer to a question, without its text.
QUESTION_REVIEWS = Table(
    "question_reviews",
    METADATA,
    Column("user_id", Id, primary_key=True),
    Column("question_id", String(64), primary_key=True),
    # The session or the interview of the answer.
    Column("answer_id", Id, primary_key=True),
    Column("answered_at", UtcDateTime, nullable=False),
    Column("score", Integer, nullable=False),
    # What the answer lacks, as a JSON list of codes.
    Column("gaps", LongText, nullable=False),
    Index("ix_question_reviews_user_id_answer_id", "user_id", "answer_id"),
)

# Questions of the bank that real interviewers asked.
INTERVIEW_NOTES = Table(
    "interview_notes",
    METADATA,
    Column("user_id", Id, primary_key=True),
    Column("question_id", String(64), primary_key=True),
    Column("asked_at", Date, nullable=False),
    Column("asked_by", String(200), nullable=True),
    Index("ix_interview_notes_question_id", "question_id"),
)

# How many users who have agreed to improvement noted a question. Computed from INTERVIEW_NOTES.
QUESTION_COUNTS = Table(
    "question_counts",
    METADATA,
    Column("question_id", String(64), primary_key=True),
    Column("people", Integer, nullable=False),
)

BOOKMARKS = Table(
    "bookmarks",
    METADATA,
    Column("user_id", Id, primary_key=True),
    Column("question_id", String(64), primary_key=True),
    Column("note", LongText, nullable=True),
    # A JSON list of names.
    Column("collections", LongText, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

# Passages of the résumé and the job description, with their vectors. Computed from the profile.
PROFILE_INDEXES = Table(
    "profile_indexes",
    METADATA,
    Column("user_id", Id, primary_key=True),
    # Of the texts that it was computed from.
    Column("digest", String(64), nullable=False),
    # Passages as JSON, and a vector of each in base64.
    Column("passages", LongText, nullable=False),
    Column("vectors", LongText, nullable=False),
    Column("indexed_at", UtcDateTime, nullable=False),
)

STORIES = Table(
    "stories",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("title", String(200), nullable=False),
    Column("text", LongText, nullable=False),
    # A vector of each sentence in base64. Null if it was stored without embeddings.
    Column("vectors", LongText, nullable=True),
    Column("vector_count", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_stories_user_id_id", "user_id", "id"),
)

OUTBOX = outbox_table(METADATA)
INBOX = inbox_table(METADATA)
TOMBSTONES = tombstones_table(METADATA)
# Deletions of interviews that not every service has confirmed.
DELETIONS = deletions_table(METADATA)
