"""Store the statistics of each user as a row."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id

revision = "2026_11_26_stats"
down_revision = "2026_11_26_restartable"

_FILL = """
INSERT INTO session_stats (user_id, total, scored, score_sum, half_difference)
SELECT user_id, COUNT(*), COUNT(score), COALESCE(SUM(score), 0),
  COALESCE(SUM(CASE WHEN 2 * position > scored + 1 THEN score
                    WHEN 2 * position <= scored THEN -score END), 0)
FROM (
  SELECT user_id, overall_score AS score,
    ROW_NUMBER() OVER (
      PARTITION BY user_id, overall_score IS NULL ORDER BY created_at, id
    ) AS position,
    COUNT(overall_score) OVER (PARTITION BY user_id) AS scored
  FROM sessions
) AS scores
GROUP BY user_id
"""


def upgrade() -> None:
    op.create_index(
        "ix_sessions_scores", "sessions", ["user_id", "created_at", "id", "overall_score"]
    )
    op.create_table(
        "session_stats",
        sa.Column("user_id", Id, primary_key=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("scored", sa.Integer(), nullable=False),
        sa.Column("score_sum", sa.Integer(), nullable=False),
        sa.Column("half_difference", sa.Integer(), nullable=False),
    )
    op.execute(_FILL)


def downgrade() -> None:
    op.drop_table("session_stats")
    op.drop_index("ix_sessions_scores", "sessions")
