"""Add the time at which the repair sweep checks an upload without a transcript."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import UtcDateTime

revision = "2026_11_26_repair"
down_revision = "2026_11_26_audio"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("repair_after", UtcDateTime, nullable=True))
    op.create_index("ix_uploads_repair_after", "uploads", ["repair_after"])
    # Uploads that wait now may have lost an event before this release.
    op.execute(
        "UPDATE uploads SET repair_after = confirmed_at"
        " WHERE status IN ('confirmed', 'transcribing')"
    )


def downgrade() -> None:
    op.drop_index("ix_uploads_repair_after", "uploads")
    with op.batch_alter_table("uploads") as uploads:
        uploads.drop_column("repair_after")
