"""Store which question a session asks, and for which position."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_26_question_id"
down_revision = "2026_11_26_requested_key"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("question_id", sa.String(64), nullable=True))
    op.add_column("sessions", sa.Column("seniority", sa.String(16), nullable=True))
    op.add_column("sessions", sa.Column("role", sa.String(200), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("sessions") as sessions:
        sessions.drop_column("role")
        sessions.drop_column("seniority")
        sessions.drop_column("question_id")
