"""The tables of auth."""

from sqlalchemy import BINARY, Boolean, Column, Index, Integer, String, Table, UniqueConstraint

from coach_common.db.deletion_log import deletions_table
from coach_common.db.tables import (
    Id,
    LongText,
    UtcDateTime,
    inbox_table,
    new_metadata,
    outbox_table,
)

METADATA = new_metadata()

USERS = Table(
    "users",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("email_digest", String(64), nullable=False),
    Column("email", String(254), nullable=False),
    Column("name", String(100), nullable=True),
    Column("password_hash", String(100), nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("is_verified", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("email_digest"),
)

LOGINS = Table(
    "logins",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_used_at", UtcDateTime, nullable=False),
    Column("user_agent", String(200), nullable=True),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime, nullable=True),
    Index("ix_logins_user_id", "user_id"),
    Index("ix_logins_expires_at", "expires_at"),
)

REFRESH_TOKENS = Table(
    "refresh_tokens",
    METADATA,
    Column("digest", BINARY(32), primary_key=True),
    Column("login_id", Id, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime, nullable=True),
    Index("ix_refresh_tokens_login_id", "login_id"),
)

REVOCATIONS = Table(
    "revocations",
    METADATA,
    Column("login_id", Id, primary_key=True),
    # Logins that one statement revoked share a batch id, so that it can be one INSERT … SELECT.
    Column("batch_id", Id, nullable=False),
    Column("revoked_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Index("ix_revocations_batch_id_login_id", "batch_id", "login_id"),
    Index("ix_revocations_revoked_at", "revoked_at"),
    Index("ix_revocations_expires_at", "expires_at"),
)

SIGNING_KEYS = Table(
    "signing_keys",
    METADATA,
    Column("kid", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    # 1 for the active key, 2 for the published key: at most one of each.
    Column("unique_slot", Integer, nullable=True),
    Column("private_key", LongText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("activated_at", UtcDateTime, nullable=True),
    Column("trusted_until", UtcDateTime, nullable=True),
    UniqueConstraint("unique_slot"),
)

AUDIT_LOG = Table(
    "audit_log",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("login_id", Id, nullable=True),
    Column("action", String(64), nullable=False),
    Column("occurred_at", UtcDateTime, nullable=False),
    Index("ix_audit_log_user_id", "user_id"),
)

ACCOUNT_TOKENS = Table(
    "account_tokens",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("digest", BINARY(32), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("user_id", Id, nullable=False),
    Column("email", String(254), nullable=False),
    Column("email_digest", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    UniqueConstraint("digest"),
    Index("ix_account_tokens_user_id", "user_id"),
    Index("ix_account_tokens_email_digest", "email_digest"),
    Index("ix_account_tokens_expires_at", "expires_at"),
)

MAILS = Table(
    "mails",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("template", String(32), nullable=False),
    # NULL for a password reset request: whether the account exists is looked up when it is sent.
    Column("user_id", Id, nullable=True),
    Column("recipient", String(254), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Index("ix_mails_user_id", "user_id"),
    Index("ix_mails_next_attempt_at", "next_attempt_at"),
)

# The latest decision of a user for each purpose.
CONSENTS = Table(
    "consents",
    METADATA,
    Column("user_id", Id, primary_key=True),
    Column("purpose", String(32), primary_key=True),
    Column("is_given", Boolean, nullable=False),
    Column("version", String(32), nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    # When `consent.changed` is emitted again; null after 30 days.
    Column("republish_after", UtcDateTime, nullable=True),
    Index("ix_consents_republish_after", "republish_after"),
)

# Receipts and confirmations name neither a user nor a session, and are kept.
DELETION_RECEIPTS = Table(
    "deletion_receipts",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("kind", String(16), nullable=False),
    # The names of the services that must confirm, separated by spaces.
    Column("services", String(64), nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("completed_at", UtcDateTime, nullable=True),
    Index("ix_deletion_receipts_completed_at_requested_at", "completed_at", "requested_at"),
)

DELETION_CONFIRMATIONS = Table(
    "deletion_confirmations",
    METADATA,
    Column("receipt_id", Id, primary_key=True),
    Column("service", String(16), primary_key=True),
    Column("confirmed_at", UtcDateTime, nullable=False),
)

OUTBOX = outbox_table(METADATA)
INBOX = inbox_table(METADATA)
DELETIONS = deletions_table(METADATA)
