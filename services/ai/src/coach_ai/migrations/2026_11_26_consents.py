"""Add who has agreed to an outside provider."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, UtcDateTime

revision = "2026_11_26_consents"
down_revision = "2026_11_26_interviews"


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("is_given", sa.Boolean(), nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_consents"),
    )


def downgrade() -> None:
    op.drop_table("consents")
