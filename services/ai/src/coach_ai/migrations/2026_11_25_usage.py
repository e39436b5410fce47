"""What a judgement took at the provider, so that a person's day has a budget."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, UtcDateTime

revision = "2026_11_25_usage"
down_revision = "2026_11_25_conversations"


def upgrade() -> None:
    op.create_table(
        "judge_usage",
        sa.Column("session_id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("judged_at", UtcDateTime, nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_judge_usage")),
    )
    with op.batch_alter_table("judge_usage") as table:
        table.create_index("ix_judge_usage_user_id_judged_at", ["user_id", "judged_at"])


def downgrade() -> None:
    op.drop_table("judge_usage")
