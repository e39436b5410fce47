"""Password reset, e-mail verification and undo of an e-mail change, by tokens sent by mail."""

from sqlalchemy.exc import IntegrityError

from coach_auth import mail_store, store
from coach_auth.deps import Deps
from coach_auth.domain import (
    UNUSABLE_PASSWORD_HASH,
    AccountDisabled,
    AccountToken,
    ClientInfo,
    EmailAlreadyRegistered,
    LoginEnded,
    MailTemplate,
    TokenInvalid,
    User,
    UserNotFound,
    email_digest,
)
from coach_auth.hash_queue import HashOwner
from coach_auth.use_cases.logins import get_active_user, revoke_logins
from coach_auth.use_cases.mails import mail_transaction, queue_mail, save_token
from coach_common import logs
from coach_common.credentials import token_digest
from coach_common.db.transaction import Transaction
from coach_common.identity import Identity
from coach_common.ids import new_id

log = logs.get_logger(__name__)

_SUPERSEDED_BY_EMAIL_CHANGE = (MailTemplate.PASSWORD_RESET, MailTemplate.EMAIL_VERIFICATION)


async def request_password_reset(deps: Deps, client: ClientInfo, *, email: str) -> None:
    """Queue a password reset mail.

    The request does the same work whether or not the account exists. The account is looked up when
    the mail is delivered. Raises TooManyRequests if the client's address sent too many requests.
    """
    await deps.mail_throttle.take_reset_request(client.ip)
    if await deps.mail_throttle.take_mail(MailTemplate.PASSWORD_RESET, email_digest(email)):
        async with mail_transaction(deps) as tx:
            await queue_mail(deps, tx, MailTemplate.PASSWORD_RESET, recipient=email, user_id=None)


async def reset_password(deps: Deps, client: ClientInfo, *, token: str, new_password: str) -> None:
    """Set a new password and revoke all logins. Raises TokenInvalid."""
    found, user = await _find_token(deps, client, token, MailTemplate.PASSWORD_RESET)
    account = email_digest(user.email)
    password_hash = await deps.password_hasher.hash(new_password, HashOwner.change(account=account))
    async with mail_transaction(deps) as tx:
        await _use_token(tx, found)
        await store.update_user(tx, user.id, password_hash=password_hash, is_verified=True)
        await mail_store.delete_tokens(tx, user.id, _SUPERSEDED_BY_EMAIL_CHANGE)
        await revoke_logins(deps, tx, user.id, reason="password_reset")
        await store.add_audit_entry(
            tx, user_id=user.id, login_id=None, action="password reset", at=deps.clock()
        )
    await deps.login_throttle.record_success(account, client.ip)
    log.info("password.reset", user_id=str(user.id))


async def verify_email(deps: Deps, client: ClientInfo, *, token: str) -> None:
    """Mark the user's e-mail address as verified. Raises TokenInvalid."""
    found, user = await _find_token(deps, client, token, MailTemplate.EMAIL_VERIFICATION)
    async with deps.db.transaction() as tx:
        await _use_token(tx, found)
        await store.update_user(tx, user.id, is_verified=True)


async def request_verification(deps: Deps, caller: Identity) -> None:
    """Queue another verification mail, unless the address is verified or got enough mails."""
    async with deps.db.read_only() as tx:
        user = await get_active_user(deps, tx, caller)
    template = MailTemplate.EMAIL_VERIFICATION
    if user.is_verified or not await deps.mail_throttle.take_mail(
        template, email_digest(user.email)
    ):
        return
    async with mail_transaction(deps) as tx:
        user = await store.lock_user(tx, user.id)
        await mail_store.delete_tokens(tx, user.id, [template])
        await queue_mail(deps, tx, template, recipient=user.email, user_id=user.id)


async def undo_email_change(deps: Deps, client: ClientInfo, *, token: str) -> None:
    """Restore the former e-mail address, revoke all logins and require a new password.

    The attacker who changed the address may know the password, so it becomes unusable and a
    password reset mail is queued. Raises TokenInvalid.
    """
    found, user = await _find_token(deps, client, token, MailTemplate.EMAIL_CHANGED)
    try:
        async with mail_transaction(deps) as tx:
            await _use_token(tx, found)
            await store.update_user(
                tx,
                user.id,
                email=found.email,
                email_digest=email_digest(found.email),
                is_verified=True,
                password_hash=UNUSABLE_PASSWORD_HASH,
            )
            await mail_store.delete_tokens(tx, user.id, _SUPERSEDED_BY_EMAIL_CHANGE)
            # Tokens of later changes would restore an address of the same attacker.
            await mail_store.delete_tokens(
                tx, user.id, [MailTemplate.EMAIL_CHANGED], created_since=found.created_at
            )
            await revoke_logins(deps, tx, user.id, reason="email_change_undone")
            await queue_mail(
                deps, tx, MailTemplate.PASSWORD_RESET, recipient=found.email, user_id=None
            )
            await store.add_audit_entry(
                tx, user_id=user.id, login_id=None, action="e-mail change undone", at=deps.clock()
            )
    except IntegrityError:
        raise EmailAlreadyRegistered from None
    log.warning("email_change.undone", user_id=str(user.id))


async def change_email(deps: Deps, tx: Transaction, user: User, email: str) -> None:
    """Change a locked user's e-mail address and queue mails to the former and the new one.

    Raises:
        EmailAlreadyRegistered: If the address is reserved for another user.
        IntegrityError: If another account has the address.
    """
    if email_digest(email) == email_digest(user.email):
        await store.update_user(tx, user.id, email=email)
        return
    now = deps.clock()
    await store.update_user(
        tx, user.id, email=email, email_digest=email_digest(email), is_verified=False
    )
    if await mail_store.is_email_reserved(tx, email, except_user_id=user.id, now=now):
        raise EmailAlreadyRegistered
    await mail_store.delete_tokens(tx, user.id, _SUPERSEDED_BY_EMAIL_CHANGE)
    await queue_mail(deps, tx, MailTemplate.EMAIL_CHANGED, recipient=user.email, user_id=user.id)
    await queue_mail(deps, tx, MailTemplate.EMAIL_VERIFICATION, recipient=email, user_id=user.id)


async def start_password_reset(deps: Deps, email: str) -> str | None:
    """Start a password reset for an operator.

    Returns the token if mails do not leave the machine; otherwise queues a mail and returns None.
    Raises UserNotFound or AccountDisabled.
    """
    now = deps.clock()
    async with mail_transaction(deps) as tx:
        user = await store.find_user_by_email(tx, email)
        if user is None:
            raise UserNotFound
        if not user.is_active:
            raise AccountDisabled
        await store.add_audit_entry(
            tx,
            user_id=user.id,
            login_id=None,
            action="password reset started by an operator",
            at=now,
        )
        if deps.mailer is not None and not deps.mailer.prints_tokens:
            await queue_mail(
                deps, tx, MailTemplate.PASSWORD_RESET, recipient=user.email, user_id=None
            )
            return None
        return await save_token(
            deps,
            tx,
            new_id(),
            MailTemplate.PASSWORD_RESET,
            user_id=user.id,
            email=user.email,
            now=now,
        )


async def _find_token(
    deps: Deps, client: ClientInfo, token: str, purpose: MailTemplate
) -> tuple[AccountToken, User]:
    """Return a valid token and its active user. Raises TokenInvalid or TooManyRequests."""
    await deps.mail_throttle.check_token_guesses(client.ip)
    async with deps.db.read_only() as tx:
        found = await mail_store.find_token(tx, token_digest(token), purpose, now=deps.clock())
        user = None if found is None else await store.find_user(tx, found.user_id)
    if found is None or user is None or not user.is_active:
        await deps.mail_throttle.record_invalid_token(client.ip)
        raise TokenInvalid
    return found, user


async def _use_token(tx: Transaction, token: AccountToken) -> User:
    """Use a token up and lock its user. Raises TokenInvalid if another call was first.

    A token sent to an address is worthless once the user has another address, except the one that
    restores the former address.
    """
    try:
        user = await store.lock_user(tx, token.user_id)
    except LoginEnded:
        raise TokenInvalid from None
    is_current = email_digest(user.email) == email_digest(token.email)
    if not is_current and token.purpose is not MailTemplate.EMAIL_CHANGED:
        raise TokenInvalid
    if not await mail_store.delete_token(tx, token.id):
        raise TokenInvalid
    return user
