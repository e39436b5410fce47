"""Store who has agreed to the storage of recordings."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, UtcDateTime

revision = "2026_11_27_storage_consents"
down_revision = "2026_11_27_exports"


def upgrade() -> None:
    op.create_table(
        "storage_consents",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("is_given", sa.Boolean, nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_storage_consents"),
    )


def downgrade() -> None:
    op.drop_table("storage_consents")
