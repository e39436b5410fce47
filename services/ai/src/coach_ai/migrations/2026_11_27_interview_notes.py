"""Store notes of real interviews, and how many people noted each question."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id

revision = "2026_11_27_interview_notes"
down_revision = "2026_11_27_improvement"


def upgrade() -> None:
    op.create_table(
        "interview_notes",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("question_id", sa.String(64), nullable=False),
        sa.Column("asked_at", sa.Date, nullable=False),
        sa.Column("asked_by", sa.String(200), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "question_id", name="pk_interview_notes"),
    )
    op.create_index("ix_interview_notes_question_id", "interview_notes", ["question_id"])
    op.create_table(
        "question_counts",
        sa.Column("question_id", sa.String(64), nullable=False),
        sa.Column("people", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("question_id", name="pk_question_counts"),
    )


def downgrade() -> None:
    op.drop_table("question_counts")
    op.drop_table("interview_notes")
