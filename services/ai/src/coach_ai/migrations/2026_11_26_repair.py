"""Keep what is needed to publish the result of a transcription or scoring again."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import LongText, UtcDateTime

revision = "2026_11_26_repair"
down_revision = "2026_11_26_references"


def upgrade() -> None:
    op.add_column("recordings", sa.Column("failure_reason", LongText, nullable=True))
    op.add_column("recordings", sa.Column("finished_at", UtcDateTime, nullable=True))
    op.add_column("answers", sa.Column("scored_transcript", LongText, nullable=True))
    op.add_column("answers", sa.Column("scored_key", sa.String(160), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("answers") as answers:
        answers.drop_column("scored_key")
        answers.drop_column("scored_transcript")
    with op.batch_alter_table("recordings") as recordings:
        recordings.drop_column("finished_at")
        recordings.drop_column("failure_reason")
