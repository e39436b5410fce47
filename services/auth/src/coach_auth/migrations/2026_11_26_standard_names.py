"""Rename columns and tables to standard terms."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import DATETIME

from coach_common.db.tables import Id, UtcDateTime

revision = "2026_11_26_standard_names"
down_revision = "2026_11_25_devices"

_TIME = sa.DateTime().with_variant(DATETIME(fsp=6), "mysql")
"""What UtcDateTime is in the database. Alembic cannot rename a column of a decorated type."""


def upgrade() -> None:
    op.drop_index("ix_logins_ends_at", "logins")
    with op.batch_alter_table("logins") as table:
        table.alter_column("agent", new_column_name="user_agent", existing_type=sa.String(200))
        table.alter_column(
            "ends_at",
            new_column_name="expires_at",
            existing_type=_TIME,
            existing_nullable=False,
        )
    op.create_index("ix_logins_expires_at", "logins", ["expires_at"])
    _rename_slot("active_slot", "unique_slot")
    _create_audit_table("audit_log", "action", "occurred_at")
    op.execute(
        "INSERT INTO audit_log (id, user_id, login_id, action, occurred_at)"
        " SELECT id, user_id, login_id, what, at FROM audit"
    )
    op.drop_table("audit")


def downgrade() -> None:
    _create_audit_table("audit", "what", "at")
    op.execute(
        "INSERT INTO audit (id, user_id, login_id, what, at)"
        " SELECT id, user_id, login_id, action, occurred_at FROM audit_log"
    )
    op.drop_table("audit_log")
    _rename_slot("unique_slot", "active_slot")
    op.drop_index("ix_logins_expires_at", "logins")
    with op.batch_alter_table("logins") as table:
        table.alter_column("user_agent", new_column_name="agent", existing_type=sa.String(200))
        table.alter_column(
            "expires_at",
            new_column_name="ends_at",
            existing_type=_TIME,
            existing_nullable=False,
        )
    op.create_index("ix_logins_ends_at", "logins", ["ends_at"])


def _rename_slot(old: str, new: str) -> None:
    with op.batch_alter_table("signing_keys") as table:
        table.drop_constraint(f"uq_signing_keys_{old}", type_="unique")
    with op.batch_alter_table("signing_keys") as table:
        table.alter_column(old, new_column_name=new, existing_type=sa.Integer())
    with op.batch_alter_table("signing_keys") as table:
        table.create_unique_constraint(f"uq_signing_keys_{new}", [new])


def _create_audit_table(name: str, action: str, occurred_at: str) -> None:
    op.create_table(
        name,
        sa.Column("id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("login_id", Id, nullable=True),
        sa.Column(action, sa.String(64), nullable=False),
        sa.Column(occurred_at, UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
    )
    op.create_index(f"ix_{name}_user_id", name, ["user_id"])
