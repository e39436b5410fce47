"""What a person spent and holds back today, and what each judgement cost, by model and prompt."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id

revision = "2026_11_25_budgets"
down_revision = "2026_11_25_usage"

_ADDED = (
    ("model", sa.String(80)),
    ("prompt_version", sa.String(16)),
    ("tokens_in", sa.Integer()),
    ("tokens_out", sa.Integer()),
    ("cost_microdollars", sa.BigInteger()),
)


def upgrade() -> None:
    op.create_table(
        "budgets",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_budgets")),
    )
    with op.batch_alter_table("judge_usage") as table:
        for name, kind in _ADDED:
            table.add_column(sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("judge_usage") as table:
        for name, _ in _ADDED:
            table.drop_column(name)
    op.drop_table("budgets")
