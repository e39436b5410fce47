"""How much of a recording was transcribed, and its words with their times."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import LongText

revision = "2026_11_26_audio"
down_revision = "2026_11_26_upload_limits"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("audio", LongText, nullable=True))
    op.add_column("uploads", sa.Column("words", LongText, nullable=True))


def downgrade() -> None:
    op.drop_column("uploads", "words")
    op.drop_column("uploads", "audio")
