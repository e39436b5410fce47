"""Add the objects that a deletion waits for before media confirms it."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id

revision = "2026_11_26_receipts"
down_revision = "2026_11_26_repair"


def upgrade() -> None:
    op.create_table(
        "unconfirmed_deletions",
        sa.Column("receipt_id", Id, nullable=False),
        sa.Column("key", sa.String(160), nullable=False),
        sa.PrimaryKeyConstraint("receipt_id", "key", name="pk_unconfirmed_deletions"),
    )
    op.create_index("ix_unconfirmed_deletions_key", "unconfirmed_deletions", ["key"])


def downgrade() -> None:
    op.drop_table("unconfirmed_deletions")
