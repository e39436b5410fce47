"""Store users' profiles."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_27_profiles"
down_revision = "2026_11_26_consents"


def upgrade() -> None:
    op.create_table(
        "profiles",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("content", LongText, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_profiles"),
    )


def downgrade() -> None:
    op.drop_table("profiles")
