"""When a signing key became active, and until when it is trusted once it is retired."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import UtcDateTime

revision = "2026_11_25_signing_key_times"
down_revision = "2026_11_24_accounts"


def upgrade() -> None:
    with op.batch_alter_table("signing_keys") as table:
        table.add_column(sa.Column("activated_at", UtcDateTime, nullable=True))
        table.add_column(sa.Column("trusted_until", UtcDateTime, nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("signing_keys") as table:
        table.drop_column("trusted_until")
        table.drop_column("activated_at")
