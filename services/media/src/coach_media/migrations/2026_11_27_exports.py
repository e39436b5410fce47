"""Add the exports of all data of a user, and their parts."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_27_exports"
down_revision = "2026_11_26_retention"


def upgrade() -> None:
    op.create_table(
        "exports",
        sa.Column("id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("requested_at", UtcDateTime, nullable=False),
        sa.Column("completed_at", UtcDateTime, nullable=True),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.Column("retry_after", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_exports"),
    )
    for name in ("user_id", "expires_at", "retry_after"):
        op.create_index(f"ix_exports_{name}", "exports", [name])
    op.create_table(
        "export_parts",
        sa.Column("export_id", Id, nullable=False),
        sa.Column("service", sa.String(16), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("is_last", sa.Boolean(), nullable=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("content", LongText, nullable=False),
        sa.PrimaryKeyConstraint("export_id", "service", "number", name="pk_export_parts"),
    )
    op.create_index("ix_export_parts_user_id", "export_parts", ["user_id"])


def downgrade() -> None:
    op.drop_table("export_parts")
    op.drop_table("exports")
