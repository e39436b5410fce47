"""Add the retention of audio: the users' choices, and when the audio of an upload is deleted."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, UtcDateTime

revision = "2026_11_26_retention"
down_revision = "2026_11_26_receipts"

_COLUMNS = ("feedback_at", "audio_delete_at", "audio_deleted_at")


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column("uploads", sa.Column(name, UtcDateTime, nullable=True))
    op.create_index("ix_uploads_audio_delete_at", "uploads", ["audio_delete_at"])
    op.create_table(
        "audio_retention",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("retention", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_audio_retention"),
    )


def downgrade() -> None:
    op.drop_table("audio_retention")
    op.drop_index("ix_uploads_audio_delete_at", "uploads")
    for name in reversed(_COLUMNS):
        op.drop_column("uploads", name)
