"""Queue mails in the transaction that causes them, and deliver them in the background.

A mail is delivered at least once. Its token is derived from its id, so neither the queue nor the
database holds a token.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

from prometheus_client import Counter

from coach_auth import mail_store, store
from coach_auth.deps import Deps
from coach_auth.domain import AccountToken, MailTemplate, QueuedMail, User
from coach_auth.mail import render
from coach_auth.mailer import Mailer, MailRejected
from coach_common import logs
from coach_common.credentials import token_digest
from coach_common.db.transaction import Transaction
from coach_common.errors import Unavailable
from coach_common.ids import new_id

log = logs.get_logger(__name__)

MAILS = Counter("coach_auth_mails", "Mails by template and outcome.", ["template", "outcome"])

_BATCH_SIZE = 5


@asynccontextmanager
async def mail_transaction(deps: Deps) -> AsyncIterator[Transaction]:
    """Open a transaction that may queue mails, and wake the delivery after its commit."""
    async with deps.db.transaction() as tx:
        yield tx
    deps.mail_queued.set()


async def queue_mail(
    deps: Deps, tx: Transaction, template: MailTemplate, *, recipient: str, user_id: UUID | None
) -> None:
    """Queue a mail, and store its token if the user is known. Use it in a `mail_transaction`."""
    now = deps.clock()
    mail = QueuedMail(
        id=new_id(),
        template=template,
        user_id=user_id,
        recipient=recipient,
        attempts=0,
        next_attempt_at=now,
        expires_at=now + template.delivery_period,
    )
    await mail_store.add_mail(tx, mail)
    if user_id is not None:
        await save_token(deps, tx, mail.id, template, user_id=user_id, email=recipient, now=now)


async def save_token(
    deps: Deps,
    tx: Transaction,
    token_id: UUID,
    template: MailTemplate,
    *,
    user_id: UUID,
    email: str,
    now: datetime,
) -> str:
    """Store a one-time token and return it. An existing token with this id is extended."""
    token = deps.key_derivation.derive_account_token(token_id)
    await mail_store.save_token(
        tx,
        AccountToken(
            id=token_id,
            digest=token_digest(token),
            purpose=template,
            user_id=user_id,
            email=email,
            created_at=now,
            expires_at=now + template.token_lifetime,
        ),
    )
    return token


async def deliver_due_mails(deps: Deps) -> int:
    """Attempt each mail that is due, a few at a time. Returns how many were attempted."""
    if deps.mailer is None:
        return 0
    now = deps.clock()
    async with deps.db.read_only() as tx:
        due = await mail_store.list_due_mails(tx, now=now, limit=_BATCH_SIZE)
    attempts = (_attempt(deps, deps.mailer, mail) for mail in due)
    for failure in await asyncio.gather(*attempts, return_exceptions=True):
        if failure is not None:
            raise failure
    return len(due)


async def _attempt(deps: Deps, mailer: Mailer, queued: QueuedMail) -> None:
    now = deps.clock()
    async with deps.db.transaction() as tx:
        if not await mail_store.mark_attempt(tx, queued, next_attempt_at=queued.next_retry_at(now)):
            return
        user = await _find_recipient(tx, queued)
        if user is None or now >= queued.expires_at:
            await mail_store.delete_mail(tx, queued.id)
            MAILS.labels(queued.template.value, "dropped" if user is None else "expired").inc()
            return
        token = deps.key_derivation.derive_account_token(queued.id)
        recipient = queued.recipient
        if queued.user_id is None:
            recipient = user.email
            await save_token(
                deps, tx, queued.id, queued.template, user_id=user.id, email=recipient, now=now
            )
    mail = render(queued, user_id=user.id, recipient=recipient, token=token, app_url=deps.app_url)
    fields = {"mail_id": str(queued.id), "template": queued.template.value}
    try:
        await mailer.send(mail)
    except Unavailable as error:
        MAILS.labels(queued.template.value, "retried").inc()
        log.warning("mail.delivery_failed", reason=str(error), attempts=queued.attempts, **fields)
        return
    except MailRejected as error:
        MAILS.labels(queued.template.value, "rejected").inc()
        log.error("mail.rejected", reason=str(error), **fields)
    else:
        MAILS.labels(queued.template.value, "sent").inc()
        log.info("mail.sent", **fields)
    async with deps.db.transaction() as tx:
        await mail_store.delete_mail(tx, queued.id)


async def _find_recipient(tx: Transaction, queued: QueuedMail) -> User | None:
    """Return the account a mail is for, or None if the mail is no longer wanted."""
    if queued.user_id is None:
        user = await store.find_user_by_email(tx, queued.recipient)
    elif await mail_store.has_token(tx, queued.id):
        user = await store.find_user(tx, queued.user_id)
    else:
        user = None
    return user if user is not None and user.is_active else None
