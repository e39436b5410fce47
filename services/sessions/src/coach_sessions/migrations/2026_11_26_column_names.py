"""Rename columns and fingerprint keys to the standard terms."""

import sqlalchemy as sa
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
_RENAMED_KEYS = (
    ("transcribed", "transcript"),
    ("completed", "completion"),
    ("measured", "interim_feedback"),
    ("judged", "final_feedback"),
)
"""Keys of the JSON in `published_fingerprints`; the values cannot contain them."""


_SESSIONS = sa.table("sessions", sa.column("published_fingerprints"))


def _rename_key(old: str, new: str) -> None:
    fingerprints = _SESSIONS.c.published_fingerprints
    renamed = sa.func.replace(fingerprints, f'"{old}"', f'"{new}"')
    op.execute(sa.update(_SESSIONS).values(published_fingerprints=renamed))


def upgrade() -> None:
    for table, old, new in _RENAMED_COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    for old, new in _RENAMED_KEYS:
        _rename_key(old, new)


def downgrade() -> None:
    for old, new in _RENAMED_KEYS:
        _rename_key(new, old)
    for table, old, new in _RENAMED_COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")
