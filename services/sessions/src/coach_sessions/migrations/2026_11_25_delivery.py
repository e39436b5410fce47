"""Add delivery metrics to recordings."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import LongText

revision = "2026_11_25_delivery"
down_revision = "2026_11_24_sessions"


def upgrade() -> None:
    op.add_column("recordings", sa.Column("delivery", LongText, nullable=True))


def downgrade() -> None:
    op.drop_column("recordings", "delivery")
