"""Rename tables, columns and indexes to the standard terms: feedback, scoring."""

from typing import Any

from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_26_standard_names"
down_revision = "2026_11_25_budgets"


def upgrade() -> None:
    op.drop_index("ix_answers_user_id_judged_at", "answers")
    _rename_column("answers", "judgement", "feedback", LongText, nullable=True)
    _rename_column("answers", "judged_at", "scored_at", UtcDateTime, nullable=True)
    op.create_index("ix_answers_user_id_scored_at", "answers", ["user_id", "scored_at"])
    op.drop_index("ix_judge_usage_user_id_judged_at", "judge_usage")
    op.rename_table("judge_usage", "scoring_usage")
    _rename_column("scoring_usage", "judged_at", "scored_at", UtcDateTime, nullable=False)
    op.create_index("ix_scoring_usage_user_id_scored_at", "scoring_usage", ["user_id", "scored_at"])
    _rename_column("conversations", "summarised_to", "summarised_up_to_id", Id, nullable=True)


def downgrade() -> None:
    _rename_column("conversations", "summarised_up_to_id", "summarised_to", Id, nullable=True)
    op.drop_index("ix_scoring_usage_user_id_scored_at", "scoring_usage")
    _rename_column("scoring_usage", "scored_at", "judged_at", UtcDateTime, nullable=False)
    op.rename_table("scoring_usage", "judge_usage")
    op.create_index("ix_judge_usage_user_id_judged_at", "judge_usage", ["user_id", "judged_at"])
    op.drop_index("ix_answers_user_id_scored_at", "answers")
    _rename_column("answers", "scored_at", "judged_at", UtcDateTime, nullable=True)
    _rename_column("answers", "feedback", "judgement", LongText, nullable=True)
    op.create_index("ix_answers_user_id_judged_at", "answers", ["user_id", "judged_at"])


def _rename_column(table: str, old: str, new: str, column_type: Any, *, nullable: bool) -> None:
    with op.batch_alter_table(table) as batch:
        batch.alter_column(
            old, new_column_name=new, existing_type=column_type, existing_nullable=nullable
        )
