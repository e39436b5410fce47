"""Whether a failure can be started again."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_26_restartable"
down_revision = "2026_11_26_repair"


def upgrade() -> None:
    for name in ("sessions", "recordings"):
        with op.batch_alter_table(name) as table:
            table.add_column(sa.Column("failure_is_restartable", sa.Boolean(), nullable=True))


def downgrade() -> None:
    for name in ("recordings", "sessions"):
        with op.batch_alter_table(name) as table:
            table.drop_column("failure_is_restartable")
