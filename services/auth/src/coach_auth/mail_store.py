"""All queries about queued mails and the one-time tokens in them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, delete, exists, insert, select, update

from coach_auth.domain import MAX_MAIL_DELAY, AccountToken, MailTemplate, QueuedMail, email_digest
from coach_auth.tables import ACCOUNT_TOKENS, MAILS
from coach_common.db.leases import is_due
from coach_common.db.transaction import Transaction


async def add_mail(tx: Transaction, mail: QueuedMail) -> None:
    """Queue a mail."""
    await tx.execute(
        insert(MAILS).values(
            id=mail.id,
            template=mail.template.value,
            user_id=mail.user_id,
            recipient=mail.recipient,
            attempts=mail.attempts,
            next_attempt_at=mail.next_attempt_at,
            expires_at=mail.expires_at,
        )
    )


async def list_due_mails(tx: Transaction, *, now: datetime, limit: int) -> list[QueuedMail]:
    """Return the mails that are due, the longest waiting first."""
    rows = await tx.fetch_all(
        select(MAILS)
        .where(
            is_due(
                MAILS.c.next_attempt_at,
                now=now,
                latest=now + MAX_MAIL_DELAY,
                is_undelayed=MAILS.c.attempts == 0,
            )
        )
        .order_by(MAILS.c.next_attempt_at)
        .limit(limit)
    )
    return [_mail(row) for row in rows]


async def mark_attempt(tx: Transaction, mail: QueuedMail, *, next_attempt_at: datetime) -> bool:
    """Count an attempt and schedule the next one. Returns False if another replica did."""
    marked = await tx.execute(
        update(MAILS)
        .where(MAILS.c.id == mail.id, MAILS.c.attempts == mail.attempts)
        .values(attempts=mail.attempts + 1, next_attempt_at=next_attempt_at)
    )
    return marked.rowcount == 1


async def delete_mail(tx: Transaction, mail_id: UUID) -> None:
    """Delete a mail that was sent, or that will not be tried again."""
    await tx.execute(delete(MAILS).where(MAILS.c.id == mail_id))


async def save_token(tx: Transaction, token: AccountToken) -> None:
    """Store a token, or extend it if a mail with it is sent again."""
    values = {
        "id": token.id,
        "digest": token.digest,
        "purpose": token.purpose.value,
        "user_id": token.user_id,
        "email": token.email,
        "email_digest": email_digest(token.email),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
    }
    await tx.execute(
        tx.dialect.upsert(ACCOUNT_TOKENS, values, update={"expires_at": token.expires_at})
    )


async def find_token(
    tx: Transaction, digest: bytes, purpose: MailTemplate, *, now: datetime
) -> AccountToken | None:
    """Return an unexpired token by its digest, or None."""
    row = await tx.fetch_one(
        select(ACCOUNT_TOKENS).where(
            ACCOUNT_TOKENS.c.digest == digest,
            ACCOUNT_TOKENS.c.purpose == purpose.value,
            ACCOUNT_TOKENS.c.expires_at > now,
        )
    )
    return None if row is None else _token(row)


async def has_token(tx: Transaction, token_id: UUID) -> bool:
    """Return True if the token is neither used nor superseded."""
    found = await tx.fetch_one(select(ACCOUNT_TOKENS.c.id).where(ACCOUNT_TOKENS.c.id == token_id))
    return found is not None


async def delete_token(tx: Transaction, token_id: UUID) -> bool:
    """Delete a token because it is used. Returns False if another call deleted it."""
    deleted = await tx.execute(delete(ACCOUNT_TOKENS).where(ACCOUNT_TOKENS.c.id == token_id))
    return deleted.rowcount == 1


async def delete_tokens(
    tx: Transaction,
    user_id: UUID,
    purposes: Sequence[MailTemplate],
    *,
    created_since: datetime | None = None,
) -> None:
    """Delete a user's tokens of some purposes, or only those created since a time."""
    condition = [
        ACCOUNT_TOKENS.c.user_id == user_id,
        ACCOUNT_TOKENS.c.purpose.in_([purpose.value for purpose in purposes]),
    ]
    if created_since is not None:
        condition.append(ACCOUNT_TOKENS.c.created_at >= created_since)
    await tx.execute(delete(ACCOUNT_TOKENS).where(*condition))


async def is_email_reserved(
    tx: Transaction, email: str, *, except_user_id: UUID, now: datetime
) -> bool:
    """Return True if another user may still return to this address by undoing a change."""
    reserved = await tx.scalar(
        select(
            exists().where(
                ACCOUNT_TOKENS.c.email_digest == email_digest(email),
                ACCOUNT_TOKENS.c.purpose == MailTemplate.EMAIL_CHANGED.value,
                ACCOUNT_TOKENS.c.expires_at > now,
                ACCOUNT_TOKENS.c.user_id != except_user_id,
            )
        )
    )
    return bool(reserved)


def _mail(row: RowMapping) -> QueuedMail:
    values = {name: row[name] for name in QueuedMail.__slots__}
    return QueuedMail(**values | {"template": MailTemplate(row["template"])})


def _token(row: RowMapping) -> AccountToken:
    values = {name: row[name] for name in AccountToken.__slots__}
    return AccountToken(
        **values | {"digest": bytes(row["digest"]), "purpose": MailTemplate(row["purpose"])}
    )
