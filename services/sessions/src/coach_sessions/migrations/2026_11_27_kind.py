"""Add the kind of a session: a practice session or an interview."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_27_kind"
down_revision = "2026_11_26_progress"


def upgrade() -> None:
    with op.batch_alter_table("sessions") as table:
        table.add_column(
            sa.Column("kind", sa.String(16), nullable=False, server_default="practice")
        )
        table.create_index("ix_sessions_user_id_kind", ["user_id", "kind", "created_at", "id"])


def downgrade() -> None:
    with op.batch_alter_table("sessions") as table:
        table.drop_index("ix_sessions_user_id_kind")
        table.drop_column("kind")
