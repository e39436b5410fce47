"""A job keeps the trace context of the request or event that queued it."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_26_job_traces"
down_revision = "2026_11_26_job_attempts"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("traceparent", sa.String(55), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("jobs") as table:
        table.drop_column("traceparent")
