"""Store who has agreed that their data is used to improve the product."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, UtcDateTime

revision = "2026_11_27_improvement"
down_revision = "2026_11_27_republication"


def upgrade() -> None:
    op.create_table(
        "improvement_consents",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("is_given", sa.Boolean, nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_improvement_consents"),
    )


def downgrade() -> None:
    op.drop_table("improvement_consents")
