"""Store the key that a client named before its upload was known."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_26_requested_key"
down_revision = "2026_11_26_column_names"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("requested_key", sa.String(160), nullable=True))
    op.create_index("ix_sessions_requested_key", "sessions", ["requested_key"])
    # Rows of deleted sessions were kept without content until now.
    op.execute(
        "DELETE FROM recordings WHERE session_id IS NOT NULL"
        " AND session_id NOT IN (SELECT id FROM sessions)"
    )


def downgrade() -> None:
    op.drop_index("ix_sessions_requested_key", "sessions")
    with op.batch_alter_table("sessions") as sessions:
        sessions.drop_column("requested_key")
