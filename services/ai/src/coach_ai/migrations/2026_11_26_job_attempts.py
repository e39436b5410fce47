"""Who holds a job's lease, how long it was retried, and which failures can be restarted."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_26_job_attempts"
down_revision = "2026_11_26_own_questions"


def upgrade() -> None:
    with op.batch_alter_table("jobs") as table:
        table.add_column(sa.Column("lease_owner", sa.String(128), nullable=True))
        table.add_column(
            sa.Column("retried_seconds", sa.Float(), nullable=False, server_default="0")
        )
    with op.batch_alter_table("recordings") as table:
        table.add_column(
            sa.Column("is_restartable", sa.Boolean(), nullable=False, server_default=sa.false())
        )
    with op.batch_alter_table("answers") as table:
        table.add_column(
            sa.Column("has_failed", sa.Boolean(), nullable=False, server_default=sa.false())
        )


def downgrade() -> None:
    with op.batch_alter_table("answers") as table:
        table.drop_column("has_failed")
    with op.batch_alter_table("recordings") as table:
        table.drop_column("is_restartable")
    with op.batch_alter_table("jobs") as table:
        table.drop_column("retried_seconds")
        table.drop_column("lease_owner")
