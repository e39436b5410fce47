"""Add the rows that upload limits are checked under, and the code of a rejection."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id

revision = "2026_11_26_upload_limits"
down_revision = "2026_11_26_standard_names"


def upgrade() -> None:
    op.create_table(
        "uploaders",
        sa.Column("user_id", Id, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_uploaders"),
    )
    op.add_column("uploads", sa.Column("rejection_code", sa.String(32), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("uploads") as uploads:
        uploads.drop_column("rejection_code")
    op.drop_table("uploaders")
