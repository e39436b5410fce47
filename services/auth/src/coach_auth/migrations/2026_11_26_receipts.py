"""Add the receipts of deletions and the confirmations of services."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, UtcDateTime

revision = "2026_11_26_receipts"
down_revision = "2026_11_26_deletions"


def upgrade() -> None:
    op.create_table(
        "deletion_receipts",
        sa.Column("id", Id, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("services", sa.String(64), nullable=False),
        sa.Column("requested_at", UtcDateTime, nullable=False),
        sa.Column("completed_at", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_deletion_receipts"),
    )
    op.create_index(
        "ix_deletion_receipts_completed_at_requested_at",
        "deletion_receipts",
        ["completed_at", "requested_at"],
    )
    op.create_table(
        "deletion_confirmations",
        sa.Column("receipt_id", Id, nullable=False),
        sa.Column("service", sa.String(16), nullable=False),
        sa.Column("confirmed_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("receipt_id", "service", name="pk_deletion_confirmations"),
    )


def downgrade() -> None:
    op.drop_table("deletion_confirmations")
    op.drop_table("deletion_receipts")
