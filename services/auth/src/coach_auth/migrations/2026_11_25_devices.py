"""Store when a login was used last, and the name of its device."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import UtcDateTime

revision = "2026_11_25_devices"
down_revision = "2026_11_25_signing_key_times"


def upgrade() -> None:
    with op.batch_alter_table("logins") as table:
        table.add_column(sa.Column("last_used_at", UtcDateTime, nullable=True))
        table.add_column(sa.Column("agent", sa.String(200), nullable=True))
    op.execute("UPDATE logins SET last_used_at = created_at")
    with op.batch_alter_table("logins") as table:
        table.alter_column("last_used_at", existing_type=UtcDateTime(), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("logins") as table:
        table.drop_column("agent")
        table.drop_column("last_used_at")
