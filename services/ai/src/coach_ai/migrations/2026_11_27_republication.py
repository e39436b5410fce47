"""Schedule the repeated publication of interviews. Those that exist are published once more."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import UtcDateTime

revision = "2026_11_27_republication"
down_revision = "2026_11_27_stories"


def upgrade() -> None:
    op.add_column("interviews", sa.Column("republish_after", UtcDateTime, nullable=True))
    op.create_index("ix_interviews_republish_after", "interviews", ["republish_after"])
    op.execute("UPDATE interviews SET republish_after = updated_at")


def downgrade() -> None:
    op.drop_index("ix_interviews_republish_after", "interviews")
    op.drop_column("interviews", "republish_after")
