"""Store users' stories."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_27_stories"
down_revision = "2026_11_27_profile_indexes"


def upgrade() -> None:
    op.create_table(
        "stories",
        sa.Column("id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("text", LongText, nullable=False),
        sa.Column("vectors", LongText, nullable=True),
        sa.Column("vector_count", sa.Integer, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_stories"),
    )
    op.create_index("ix_stories_user_id_id", "stories", ["user_id", "id"])


def downgrade() -> None:
    op.drop_table("stories")
