"""Add self-ratings and the rows of progress."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_26_progress"
down_revision = "2026_11_26_question_key"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("self_rating", sa.Integer(), nullable=True))
    op.add_column("sessions", sa.Column("self_rated_at", UtcDateTime, nullable=True))
    op.add_column("sessions", sa.Column("revealed_at", UtcDateTime, nullable=True))
    op.create_table(
        "progress_entries",
        sa.Column("session_id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("scored_at", UtcDateTime, nullable=True),
        sa.Column("practised_at", UtcDateTime, nullable=False),
        sa.Column("practice_seconds", sa.Integer(), nullable=False),
        sa.Column("self_rating", sa.Integer(), nullable=True),
        sa.Column("answer", LongText, nullable=True),
        sa.PrimaryKeyConstraint("session_id", name="pk_progress_entries"),
    )
    op.create_index(
        "ix_progress_entries_user_id_scored_at",
        "progress_entries",
        ["user_id", "scored_at", "session_id"],
    )
    op.create_table(
        "progress_totals",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("sessions", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_progress_totals"),
    )
    op.create_table(
        "practice_days",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("quarters", sa.String(2048), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "day", name="pk_practice_days"),
    )


def downgrade() -> None:
    for table in ("practice_days", "progress_totals", "progress_entries"):
        op.drop_table(table)
    with op.batch_alter_table("sessions") as sessions:
        for column in ("revealed_at", "self_rated_at", "self_rating"):
            sessions.drop_column(column)
