"""Add the decisions of users by purpose."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, UtcDateTime

revision = "2026_11_26_consents"
down_revision = "2026_11_26_receipts"


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("is_given", sa.Boolean(), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
        sa.Column("republish_after", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("user_id", "purpose", name="pk_consents"),
    )
    op.create_index("ix_consents_republish_after", "consents", ["republish_after"])


def downgrade() -> None:
    op.drop_table("consents")
