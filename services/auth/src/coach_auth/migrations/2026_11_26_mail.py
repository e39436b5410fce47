"""Add verified e-mail addresses, account tokens and the mail queue; key revocations by login."""

import hashlib
import unicodedata
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, UtcDateTime
from coach_common.ids import new_id

revision = "2026_11_26_mail"
down_revision = "2026_11_26_standard_names"


def upgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.add_column(
            sa.Column("is_verified", sa.Boolean, nullable=False, server_default=sa.false())
        )
    with op.batch_alter_table("users") as table:
        table.alter_column("is_verified", existing_type=sa.Boolean(), server_default=None)
    _recompute_email_digests()
    kept = _read_revocations()
    op.drop_table("revocations")
    op.create_table(
        "revocations",
        sa.Column("login_id", Id, nullable=False),
        sa.Column("batch_id", Id, nullable=False),
        sa.Column("revoked_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("login_id", name="pk_revocations"),
    )
    _index_revocations()
    op.create_index("ix_revocations_batch_id_login_id", "revocations", ["batch_id", "login_id"])
    _insert_revocations("batch_id", kept)
    op.create_table(
        "account_tokens",
        sa.Column("id", Id, nullable=False),
        sa.Column("digest", sa.BINARY(32), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("email_digest", sa.String(64), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_account_tokens"),
        sa.UniqueConstraint("digest", name="uq_account_tokens_digest"),
    )
    op.create_index("ix_account_tokens_user_id", "account_tokens", ["user_id"])
    op.create_index("ix_account_tokens_email_digest", "account_tokens", ["email_digest"])
    op.create_index("ix_account_tokens_expires_at", "account_tokens", ["expires_at"])
    op.create_table(
        "mails",
        sa.Column("id", Id, nullable=False),
        sa.Column("template", sa.String(32), nullable=False),
        sa.Column("user_id", Id, nullable=True),
        sa.Column("recipient", sa.String(254), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mails"),
    )
    op.create_index("ix_mails_user_id", "mails", ["user_id"])
    op.create_index("ix_mails_next_attempt_at", "mails", ["next_attempt_at"])


def downgrade() -> None:
    op.drop_table("mails")
    op.drop_table("account_tokens")
    kept = _read_revocations()
    op.drop_table("revocations")
    op.create_table(
        "revocations",
        sa.Column("id", Id, nullable=False),
        sa.Column("login_id", Id, nullable=False),
        sa.Column("revoked_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revocations"),
    )
    _index_revocations()
    _insert_revocations("id", kept)
    with op.batch_alter_table("users") as table:
        table.drop_column("is_verified")


def _index_revocations() -> None:
    op.create_index("ix_revocations_revoked_at", "revocations", ["revoked_at"])
    op.create_index("ix_revocations_expires_at", "revocations", ["expires_at"])


def _read_revocations() -> list[sa.Row[tuple[UUID, datetime, datetime]]]:
    table = _revocations("batch_id")
    query = sa.select(table.c.login_id, table.c.revoked_at, table.c.expires_at)
    return list(op.get_bind().execute(query))


def _insert_revocations(
    id_column: str, rows: list[sa.Row[tuple[UUID, datetime, datetime]]]
) -> None:
    table = _revocations(id_column)
    for row in rows:
        op.get_bind().execute(sa.insert(table).values({id_column: new_id(), **row._mapping}))


def _revocations(id_column: str) -> sa.TableClause:
    return sa.table(
        "revocations",
        sa.column(id_column, Id),
        sa.column("login_id", Id),
        sa.column("revoked_at", UtcDateTime),
        sa.column("expires_at", UtcDateTime),
    )


def _recompute_email_digests() -> None:
    """Compare e-mail addresses by NFKC and lower case. Only non-ASCII digests change."""
    users = sa.table(
        "users", sa.column("id", Id), sa.column("email"), sa.column("email_digest", sa.String)
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(users.c.id, users.c.email)).all():
        if not row.email.isascii():
            key = unicodedata.normalize("NFKC", row.email).lower()
            connection.execute(
                sa.update(users)
                .where(users.c.id == row.id)
                .values(email_digest=hashlib.sha256(key.encode()).hexdigest())
            )
