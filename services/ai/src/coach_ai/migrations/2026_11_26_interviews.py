"""Store interviews and their turns."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_26_interviews"
down_revision = "2026_11_26_job_traces"


def upgrade() -> None:
    op.create_table(
        "interviews",
        sa.Column("id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("setup", LongText, nullable=False),
        sa.Column("plan", LongText, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("question_number", sa.Integer, nullable=False),
        sa.Column("turn_count", sa.Integer, nullable=False),
        sa.Column("assessment", LongText, nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("completed_at", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_interviews"),
    )
    op.create_index("ix_interviews_user_id_id", "interviews", ["user_id", "id"])
    op.create_table(
        "interview_turns",
        sa.Column("interview_id", Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("idempotency_key", sa.String(128), nullable=True),
        sa.Column("audio_s3_key", sa.String(160), nullable=True),
        sa.Column("content", LongText, nullable=False),
        sa.PrimaryKeyConstraint("interview_id", "number", name="pk_interview_turns"),
        sa.UniqueConstraint(
            "interview_id",
            "idempotency_key",
            name="uq_interview_turns_interview_id_idempotency_key",
        ),
        sa.UniqueConstraint("audio_s3_key", name="uq_interview_turns_audio_s3_key"),
    )
    op.create_index("ix_interview_turns_user_id", "interview_turns", ["user_id"])


def downgrade() -> None:
    op.drop_table("interview_turns")
    op.drop_table("interviews")
