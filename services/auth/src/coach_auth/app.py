"""The composition root of auth."""

from datetime import timedelta
from functools import partial

from coach_auth import routes, tables, workers
from coach_auth.config import AuthSettings
from coach_auth.deps import Deps, KeyRing, KeyTerms, TokenTerms
from coach_auth.keys import Secret
from coach_auth.limits import FailedLogins
from coach_auth.passwords import Passwords
from coach_auth.use_cases import signing
from coach_common.clock import Clock, utc_now
from coach_common.counts import Counts
from coach_common.db.database import Database
from coach_common.http.app import create_app
from coach_common.messaging.subscriptions import Transport
from coach_common.service import Service
from coach_common.tokens import TokenReader


def build(settings: AuthSettings, transport: Transport, *, clock: Clock = utc_now) -> Service:
    """Put the service together; nothing runs yet."""
    database = Database.of(settings, "auth", tables.OUTBOX, tables.INBOX, clock)
    passwords = Passwords(settings.bcrypt_cost)
    terms = TokenTerms(
        settings.token_issuer,
        settings.token_audience,
        timedelta(minutes=settings.access_token_expire_minutes),
        timedelta(days=settings.refresh_token_expire_days),
    )
    keys = KeyTerms(
        timedelta(days=settings.signing_key_days),
        timedelta(seconds=settings.signing_key_lead_seconds),
    )
    secret = Secret(settings.secret_key)
    ring = KeyRing(keys.look_seconds)
    counts = Counts.of(settings.redis_url, lambda: clock().timestamp())
    deps = Deps(database, clock, passwords, secret, terms, FailedLogins(counts), keys, ring)
    app = create_app("auth", checks={"database": database.check, "broker": transport.check})
    app.state.deps = deps
    app.state.tokens = TokenReader.of(settings, partial(signing.get_public_keys, deps))
    app.state.service_token = settings.service_token
    app.include_router(routes.router)
    return Service(
        name="auth",
        app=app,
        settings=settings,
        transport=transport,
        database=database,
        package="coach_auth",
        workers={
            "purge": partial(workers.purge, deps),
            "signing keys": partial(workers.rotate_keys, deps),
        },
        purged=(tables.INBOX,),
        on_start=(partial(signing.get_signing_key, deps),),
        on_close=(passwords.close, counts.close),
    )
