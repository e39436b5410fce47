"""Store the passages and vectors of profiles."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_27_profile_indexes"
down_revision = "2026_11_27_disputes"


def upgrade() -> None:
    op.create_table(
        "profile_indexes",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("passages", LongText, nullable=False),
        sa.Column("vectors", LongText, nullable=False),
        sa.Column("indexed_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_profile_indexes"),
    )


def downgrade() -> None:
    op.drop_table("profile_indexes")
