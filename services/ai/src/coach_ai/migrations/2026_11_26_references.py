"""Store which question of the bank a session asks, and a copy of it."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import LongText

revision = "2026_11_26_references"
down_revision = "2026_11_26_session_questions"


def upgrade() -> None:
    op.add_column("session_questions", sa.Column("question_id", sa.String(64), nullable=True))
    op.add_column("session_questions", sa.Column("seniority", sa.String(16), nullable=True))
    op.add_column("session_questions", sa.Column("reference", LongText, nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("session_questions") as questions:
        questions.drop_column("reference")
        questions.drop_column("seniority")
        questions.drop_column("question_id")
