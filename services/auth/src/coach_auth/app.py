"""Composition root of auth."""

from datetime import timedelta
from functools import partial

from coach_auth import tables, workers
from coach_auth.config import AuthSettings
from coach_auth.consumers import SUBSCRIPTIONS
from coach_auth.deps import Deps, KeyRotationPolicy, SigningKeyCache, TokenPolicy
from coach_auth.keys import KeyDerivation
from coach_auth.login_throttle import LoginThrottle
from coach_auth.mail_throttle import MailThrottle
from coach_auth.mailer import Mailer, create_mailer
from coach_auth.passwords import PasswordHasher
from coach_auth.public_routers import PUBLIC_ROUTERS
from coach_auth.sliding_window import SlidingWindowCounter
from coach_auth.use_cases import signing_keys
from coach_common.clock import Clock, utc_now
from coach_common.db.database import Database
from coach_common.db.deletion_log import DeletionLog
from coach_common.events.catalog import UserDeleted
from coach_common.http.app import create_app
from coach_common.http.dependencies import AppState
from coach_common.messaging.subscriptions import Transport, subscribe
from coach_common.service import Service
from coach_common.tokens import AccessTokenVerifier


def build(
    settings: AuthSettings,
    transport: Transport,
    *,
    clock: Clock = utc_now,
    mailer: Mailer | None = None,
) -> Service[Deps]:
    """Build the service without starting it."""
    database = Database.from_settings(settings, "auth", tables.OUTBOX, tables.INBOX, clock)
    passwords = PasswordHasher(settings.bcrypt_cost)
    token_policy = TokenPolicy(
        settings.token_issuer,
        settings.token_audience,
        timedelta(minutes=settings.access_token_expire_minutes),
        timedelta(days=settings.refresh_token_expire_days),
        timedelta(seconds=settings.refresh_grace_seconds),
    )
    key_policy = KeyRotationPolicy(
        timedelta(days=settings.signing_key_days),
        timedelta(seconds=settings.signing_key_lead_seconds),
    )
    key_derivation = KeyDerivation(settings.secret_key)
    key_cache = SigningKeyCache(key_policy.poll_seconds)
    counts = SlidingWindowCounter.from_redis_url(
        settings.redis_address, lambda: clock().timestamp()
    )
    deletions = DeletionLog(
        database,
        tables.DELETIONS,
        UserDeleted,
        clock=clock,
        delay=timedelta(seconds=settings.repair_seconds),
    )
    deps = Deps(
        database,
        clock,
        deletions,
        passwords,
        key_derivation,
        token_policy,
        LoginThrottle(counts),
        key_policy,
        key_cache,
        MailThrottle(counts),
        mailer or create_mailer(settings),
        settings.app_url,
        timedelta(seconds=settings.repair_seconds),
    )
    tokens = AccessTokenVerifier.from_settings(
        settings,
        partial(signing_keys.get_public_keys, deps),
        cache_seconds=key_policy.poll_seconds,
    )
    app = create_app(
        "auth",
        checks={"database": database.check, "broker": transport.check},
        state=AppState(deps, tokens, settings.service_token),
    )
    for router in PUBLIC_ROUTERS:
        app.include_router(router)
    return Service(
        name="auth",
        app=app,
        settings=settings,
        transport=transport,
        deps=deps,
        database=database,
        package="coach_auth",
        subscriptions=subscribe("auth", deps, SUBSCRIPTIONS),
        workers={
            "republish_deletions": deletions.run,
            "login_purge": partial(workers.purge_expired_logins, deps),
            "republish_consents": partial(workers.republish_consents, deps),
            "overdue_receipts": partial(workers.count_overdue_receipts, deps),
            "mail_delivery": partial(workers.deliver_mails, deps),
            "signing_key_rotation": partial(workers.rotate_keys, deps),
        },
        retention_tables=(tables.INBOX,),
        on_start=(partial(signing_keys.get_signing_key, deps),),
        on_close=(passwords.close, counts.close),
    )
