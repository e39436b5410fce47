"""Create, read, update and delete accounts, and sign in with e-mail and password."""

import asyncio
from dataclasses import replace
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy.exc import IntegrityError

from coach_auth import login_store, mail_store, store
from coach_auth.deps import Deps
from coach_auth.domain import (
    ClientInfo,
    EmailAlreadyRegistered,
    InvalidCredentials,
    LoginEnded,
    LoginResult,
    MailTemplate,
    User,
    UserNotFound,
    WrongPassword,
    email_digest,
)
from coach_auth.hash_queue import HashOwner
from coach_auth.use_cases.logins import create_login, get_active_user, revoke_logins
from coach_auth.use_cases.mails import mail_transaction, queue_mail
from coach_auth.use_cases.receipts import start_account_receipt
from coach_auth.use_cases.recovery import change_email
from coach_auth.use_cases.signing_keys import get_signing_key
from coach_common import logs
from coach_common.events.catalog import UserDeleted, UserRegistered
from coach_common.identity import Identity
from coach_common.ids import new_id

log = logs.get_logger(__name__)

LOGINS = Counter("coach_auth_logins", "Sign-ins by outcome.", ["outcome"])


async def register(
    deps: Deps, client: ClientInfo, *, email: str, password: str, name: str | None
) -> LoginResult:
    """Create an account and sign in. Raises EmailAlreadyRegistered if the e-mail is taken."""
    user = await create_user(deps, client, email=email, password=password, name=name)
    key = await get_signing_key(deps)
    LOGINS.labels("registered").inc()
    return await create_login(deps, user, key, user_agent=client.user_agent)


async def create_user(
    deps: Deps, client: ClientInfo, *, email: str, password: str, name: str | None
) -> User:
    """Create an account and queue the mail that verifies its address.

    Raises EmailAlreadyRegistered if the e-mail is taken, or reserved for the undo of a change.
    """
    account = email_digest(email)
    async with deps.db.read_only() as tx:
        if await store.find_user_by_email(tx, email) is not None:
            raise EmailAlreadyRegistered
    user = User(
        id=new_id(),
        email=email,
        name=name,
        password_hash=await deps.password_hasher.hash(
            password, HashOwner.registration(client_ip=client.ip, account=account)
        ),
        is_active=True,
        created_at=deps.clock(),
    )
    wants_mail = await deps.mail_throttle.take_mail(MailTemplate.EMAIL_VERIFICATION, account)
    async with mail_transaction(deps) as tx:
        # The unique digest decides between parallel registrations.
        await store.add_user(tx, user)
        if await mail_store.is_email_reserved(
            tx, email, except_user_id=user.id, now=user.created_at
        ):
            raise EmailAlreadyRegistered
        await tx.emit(UserRegistered(user_id=user.id))
        if wants_mail:
            await queue_mail(
                deps, tx, MailTemplate.EMAIL_VERIFICATION, recipient=email, user_id=user.id
            )
    return user


async def show_user(deps: Deps, email: str) -> tuple[User, int]:
    """Return an account and its number of live logins. Raises UserNotFound."""
    now = deps.clock()
    async with deps.db.read_only() as tx:
        user = await store.find_user_by_email(tx, email)
        if user is None:
            raise UserNotFound
        logins = await login_store.list_logins(
            tx, user.id, now=now, unused_since=now - deps.token_policy.refresh_lifetime
        )
    return user, len(logins)


async def set_user_active(deps: Deps, email: str, *, is_active: bool) -> User:
    """Enable or disable an account and write an audit entry. Disabling revokes all its logins."""
    async with deps.db.transaction() as tx:
        user = await store.find_user_by_email(tx, email)
        if user is None:
            raise UserNotFound
        if await store.mark_user_active(tx, user.id, is_active=is_active):
            if not is_active:
                await revoke_logins(deps, tx, user.id, reason="disabling")
            action = "enabled by an operator" if is_active else "disabled by an operator"
            await store.add_audit_entry(
                tx, user_id=user.id, login_id=None, action=action, at=deps.clock()
            )
    log.warning("user.active_state_changed", user_id=str(user.id), is_active=is_active)
    return replace(user, is_active=is_active)


async def login(deps: Deps, client: ClientInfo, *, email: str, password: str) -> LoginResult:
    """Sign in. Raises InvalidCredentials, after the same work, if the account does not exist."""
    account = email_digest(email)
    async with deps.db.read_only() as tx:
        user = await store.find_user_by_email(tx, email)
    owner = HashOwner.login(client_ip=client.ip, account=account)
    is_right = await _is_password_right(deps, client, user, password, account=account, owner=owner)
    if user is None or not is_right:
        LOGINS.labels("refused").inc()
        raise InvalidCredentials
    key = await get_signing_key(deps)
    LOGINS.labels("succeeded").inc()
    return await create_login(deps, user, key, user_agent=client.user_agent)


async def get_me(deps: Deps, caller: Identity) -> User:
    """Return the caller's account."""
    async with deps.db.read_only() as tx:
        return await get_active_user(deps, tx, caller)


async def update_me(
    deps: Deps,
    caller: Identity,
    client: ClientInfo,
    *,
    name: str | None,
    email: str | None,
    new_password: str | None,
    current_password: str | None,
) -> User:
    """Update only the given fields (not None). An empty name removes the name.

    A new password revokes all other logins of the caller. If the e-mail address changes, the
    former address gets a mail that can undo the change.

    Raises:
        WrongPassword: If the current password is wrong, or was changed by a parallel request.
        EmailAlreadyRegistered: If the e-mail is taken.
    """
    user = await get_me(deps, caller)
    changes: dict[str, object] = {}
    if new_password is not None:
        await _check_own_password(deps, client, user, current_password or "")
        owner = HashOwner.change(account=email_digest(user.email))
        changes["password_hash"] = await deps.password_hasher.hash(new_password, owner)
    if name is not None:
        changes["name"] = name or None
    if email is not None and email_digest(email) != email_digest(user.email):
        await deps.mail_throttle.take_email_change(user.id)
    try:
        async with mail_transaction(deps) as tx:
            await get_active_user(deps, tx, caller)
            locked = await store.lock_user(tx, user.id)
            if changes and not await store.update_user(
                tx,
                user.id,
                expected_password_hash=None if new_password is None else user.password_hash,
                **changes,
            ):
                raise WrongPassword
            if new_password is not None:
                await mail_store.delete_tokens(tx, user.id, [MailTemplate.PASSWORD_RESET])
                await revoke_logins(
                    deps, tx, user.id, reason="password_change", except_login_id=caller.login_id
                )
            if email is not None:
                await change_email(deps, tx, locked, email)
            return await store.get_user(tx, user.id)
    except IntegrityError:
        raise EmailAlreadyRegistered from None


async def delete_me(deps: Deps, caller: Identity, client: ClientInfo, *, password: str) -> UUID:
    """Delete the caller's account and emit `user.deleted`. Returns the id of its receipt.

    Raises:
        WrongPassword: If the password is wrong.
        LoginEnded: If a parallel request has deleted the account.
    """
    user = await get_me(deps, caller)
    await _check_own_password(deps, client, user, password)
    async with deps.db.transaction() as tx:
        if (await store.lock_user(tx, user.id)).password_hash != user.password_hash:
            raise WrongPassword
        await revoke_logins(deps, tx, user.id, reason="deletion")
        if not await store.delete_user(tx, user.id):
            raise LoginEnded
        receipt_id = await start_account_receipt(deps, tx)
        await deps.deletions.emit(
            tx,
            UserDeleted(user_id=user.id, receipt_id=receipt_id),
            receipt_id=receipt_id,
            user_id=user.id,
        )
    if deps.mailer is not None:
        await deps.mailer.erase(user.id)
    return receipt_id


async def _is_password_right(
    deps: Deps,
    client: ClientInfo,
    user: User | None,
    password: str,
    *,
    account: str,
    owner: HashOwner,
) -> bool:
    """Check a password under the login throttle. Unknown accounts cost the same work."""
    delay = await deps.login_throttle.check(account, client.ip)
    matches = await deps.password_hasher.check(
        password, None if user is None else user.password_hash, owner
    )
    if delay:
        await asyncio.sleep(delay)
    await deps.login_throttle.check(account, client.ip)
    if user is None or not matches or not user.is_active:
        await deps.login_throttle.record_failure(account, client.ip)
        return False
    await deps.login_throttle.record_success(account, client.ip)
    return True


async def _check_own_password(deps: Deps, client: ClientInfo, user: User, password: str) -> None:
    account = email_digest(user.email)
    owner = HashOwner.change(account=account)
    if not await _is_password_right(deps, client, user, password, account=account, owner=owner):
        raise WrongPassword
