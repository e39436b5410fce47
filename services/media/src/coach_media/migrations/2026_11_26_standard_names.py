"""Rename `removals` to `object_deletions` and the columns that had unclear names."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import UtcDateTime

revision = "2026_11_26_standard_names"
down_revision = "2026_11_24_uploads"


def upgrade() -> None:
    op.drop_index("ix_uploads_next_look_at", "uploads")
    _rename_column("uploads", "next_look_at", "next_check_at", UtcDateTime(), nullable=True)
    op.create_index("ix_uploads_next_check_at", "uploads", ["next_check_at"])
    op.drop_index("ix_removals_due_at", "removals")
    op.rename_table("removals", "object_deletions")
    _rename_column("object_deletions", "last_at", "final_attempt_at", UtcDateTime())
    _rename_column("object_deletions", "tries", "attempts", sa.Integer())
    op.create_index("ix_object_deletions_due_at", "object_deletions", ["due_at"])


def downgrade() -> None:
    op.drop_index("ix_object_deletions_due_at", "object_deletions")
    _rename_column("object_deletions", "attempts", "tries", sa.Integer())
    _rename_column("object_deletions", "final_attempt_at", "last_at", UtcDateTime())
    op.rename_table("object_deletions", "removals")
    op.create_index("ix_removals_due_at", "removals", ["due_at"])
    op.drop_index("ix_uploads_next_check_at", "uploads")
    _rename_column("uploads", "next_check_at", "next_look_at", UtcDateTime(), nullable=True)
    op.create_index("ix_uploads_next_look_at", "uploads", ["next_look_at"])


def _rename_column(
    table: str, old: str, new: str, kind: "sa.types.TypeEngine[object]", *, nullable: bool = False
) -> None:
    op.alter_column(table, old, new_column_name=new, existing_type=kind, existing_nullable=nullable)
