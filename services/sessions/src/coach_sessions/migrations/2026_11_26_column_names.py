"""Rename columns to the standard terms."""

from alembic import op

revision = "2026_11_26_column_names"
down_revision = "2026_11_25_early_delivery"

_RENAMED_COLUMNS = (
    ("sessions", "announced", "published_fingerprints"),
    ("recordings", "link_id", "linked_by_event_id"),
    ("recordings", "text", "transcript"),
    ("recordings", "delivery", "delivery_metrics"),
    ("recordings", "delivery_is_complete", "delivery_metrics_complete"),
)


def upgrade() -> None:
    for table, old, new in _RENAMED_COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")


def downgrade() -> None:
    for table, old, new in _RENAMED_COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")
