"""Store when each question is due again, and bookmarks."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_27_practice"
down_revision = "2026_11_27_profiles"


def upgrade() -> None:
    op.create_table(
        "question_cards",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("question_id", sa.String(64), nullable=False),
        sa.Column("competence", sa.String(64), nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("step", sa.Integer, nullable=True),
        sa.Column("stability_days", sa.Float, nullable=False),
        sa.Column("difficulty", sa.Float, nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.Column("reviewed_at", UtcDateTime, nullable=False),
        sa.Column("last_score", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "question_id", name="pk_question_cards"),
    )
    op.create_table(
        "question_reviews",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("question_id", sa.String(64), nullable=False),
        sa.Column("answer_id", Id, nullable=False),
        sa.Column("answered_at", UtcDateTime, nullable=False),
        sa.Column("score", sa.Integer, nullable=False),
        sa.Column("gaps", LongText, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "question_id", "answer_id", name="pk_question_reviews"),
    )
    op.create_index(
        "ix_question_reviews_user_id_answer_id", "question_reviews", ["user_id", "answer_id"]
    )
    op.create_table(
        "bookmarks",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("question_id", sa.String(64), nullable=False),
        sa.Column("note", LongText, nullable=True),
        sa.Column("collections", LongText, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "question_id", name="pk_bookmarks"),
    )
    # The newest session of a user is found without a sort.
    op.create_index(
        "ix_session_questions_user_id_session_id", "session_questions", ["user_id", "session_id"]
    )
    op.drop_index("ix_session_questions_user_id", "session_questions")


def downgrade() -> None:
    op.create_index("ix_session_questions_user_id", "session_questions", ["user_id"])
    op.drop_index("ix_session_questions_user_id_session_id", "session_questions")
    op.drop_table("bookmarks")
    op.drop_table("question_reviews")
    op.drop_table("question_cards")
