"""Add the time at which the repair sweep checks a waiting session."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import UtcDateTime

revision = "2026_11_26_repair"
down_revision = "2026_11_26_question_id"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("repair_after", UtcDateTime, nullable=True))
    op.create_index("ix_sessions_repair_after", "sessions", ["repair_after"])
    # Sessions that wait now may have lost an event before this release.
    op.execute(
        "UPDATE sessions SET repair_after = completed_at WHERE completed_at IS NOT NULL"
        " AND status IN ('waiting_for_recording', 'transcribing', 'scoring')"
    )


def downgrade() -> None:
    op.drop_index("ix_sessions_repair_after", "sessions")
    with op.batch_alter_table("sessions") as sessions:
        sessions.drop_column("repair_after")
