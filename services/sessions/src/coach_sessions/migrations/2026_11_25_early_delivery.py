"""Mark delivery metrics that are still incomplete."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_early_delivery"
down_revision = "2026_11_25_delivery"


def upgrade() -> None:
    op.add_column("recordings", sa.Column("delivery_is_complete", sa.Boolean(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("recordings") as recordings:
        recordings.drop_column("delivery_is_complete")
