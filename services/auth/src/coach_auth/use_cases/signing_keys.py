"""Rotate the keys that sign access tokens.

    published ──lead──▶ active ──successor is active──▶ retired ──last token expired──▶ deleted

A key is in the JWKS in each of these states. It signs only after every verifier has had time to
fetch it (verifiers cache a JWKS for at most two minutes) and stays until the tokens it signed have
expired. Each step is one conditional update, so any number of replicas may attempt it.
"""

import asyncio
import time
from contextlib import suppress
from datetime import datetime, timedelta

from prometheus_client import Counter

from coach_auth import key_store
from coach_auth.deps import Deps, SigningKeyCache
from coach_auth.domain import (
    KeyState,
    RotationStep,
    SigningKeyInfo,
    SigningKeyNotFound,
    next_rotation_step,
)
from coach_auth.keys import SigningKey
from coach_common import logs
from coach_common.errors import TransactionConflict, Unavailable
from coach_common.tokens import PublicKeys

log = logs.get_logger(__name__)

KEY_STEPS = Counter(
    "coach_auth_signing_key_transitions", "Signing key state transitions.", ["step"]
)

CLOCK_SKEW_ALLOWANCE = timedelta(minutes=1)
"""How long after its expiry a token may still be accepted somewhere: clocks differ, and replicas
read the keys at different times."""
_UNKNOWN_KID_RELOAD_SECONDS = 1.0


async def get_signing_key(deps: Deps) -> SigningKey:
    """Return the active key. The first call on an empty table creates it."""
    await _refresh_cache(deps)
    if deps.key_cache.active is None:
        # Replicas that start together all try; the unique slot lets one succeed.
        await _add_key(deps, KeyState.ACTIVE)
    if deps.key_cache.active is None:
        raise Unavailable("No signing key is available yet.")
    return deps.key_cache.active


async def get_jwks(deps: Deps) -> list[dict[str, str]]:
    """Return the public keys (RFC 7517)."""
    await get_signing_key(deps)
    return deps.key_cache.jwks


async def get_public_keys(deps: Deps, kid: str) -> PublicKeys:
    """Return the public keys by `kid`, for auth's own token verification.

    An unknown `kid` reloads the keys, at most once per second: another replica may have created it.
    """
    cache = deps.key_cache
    if (
        kid not in cache.public_keys
        and time.monotonic() - cache.read_at > _UNKNOWN_KID_RELOAD_SECONDS
    ):
        cache.read_at = float("-inf")
    await get_signing_key(deps)
    return cache.public_keys


async def list_keys(deps: Deps) -> list[SigningKeyInfo]:
    """Return all keys, oldest first."""
    async with deps.db.read_only() as tx:
        return await key_store.list_keys(tx)


async def publish_key(deps: Deps) -> SigningKeyInfo:
    """Publish a key that becomes active after the lead time. Returns the published key if any."""
    await get_signing_key(deps)
    if await _add_key(deps, KeyState.PUBLISHED):
        KEY_STEPS.labels("published").inc()
    return next(key for key in await list_keys(deps) if key.state is KeyState.PUBLISHED)


async def revoke_key(deps: Deps, kid: str) -> None:
    """Revoke a compromised key: delete it, which invalidates all tokens it signed.

    All verifiers reject those tokens within two minutes (auth polls the table every 5 s, other
    services cache the JWKS for 60 s and verified tokens for 30 s); clients receive 401 and refresh.
    If the key was active, the published key, or else a new one, becomes active immediately.
    Raises SigningKeyNotFound.
    """
    replacement = await asyncio.to_thread(deps.key_derivation.new_signing_key)
    now = deps.clock()
    async with deps.db.transaction() as tx:
        previous_state = await key_store.delete_key(tx, kid)
        if previous_state is None:
            raise SigningKeyNotFound(kid)
        if previous_state is KeyState.ACTIVE:
            published = [k for k in await key_store.list_keys(tx) if k.state is KeyState.PUBLISHED]
            if not published or not await key_store.mark_key_active(tx, published[0].kid, at=now):
                wrapped = deps.key_derivation.wrap(replacement)
                await key_store.add_key(
                    tx, kid=replacement.kid, state=KeyState.ACTIVE, private_key=wrapped, at=now
                )
    KEY_STEPS.labels("revoked").inc()
    log.warning("signing_key.revoked", kid=kid, previous_state=previous_state.value)
    await _refresh_cache(deps, force=True)


async def rotate_keys(deps: Deps) -> RotationStep:
    """Take the rotation step that is due and return it."""
    await get_signing_key(deps)
    now = deps.clock()
    keys = await list_keys(deps)
    step = next_rotation_step(
        keys,
        now,
        rotation_period=deps.key_policy.rotation_period,
        publication_lead=deps.key_policy.publication_lead,
    )
    if step is RotationStep.PUBLISH:
        key = await publish_key(deps)
        log.info("signing_key.published", kid=key.kid)
    elif step is RotationStep.ACTIVATE and not await _activate(deps, keys, now):
        step = RotationStep.NONE
    async with deps.db.transaction() as tx:
        deleted = await key_store.delete_expired_keys(tx, now=now)
    if deleted:
        KEY_STEPS.labels("expired").inc(deleted)
        await _refresh_cache(deps, force=True)
    return step


async def _activate(deps: Deps, keys: list[SigningKeyInfo], now: datetime) -> bool:
    """Activate the published key, retire the active one. Returns False if a replica did."""
    (new,) = (key.kid for key in keys if key.state is KeyState.PUBLISHED)
    (old,) = (key.kid for key in keys if key.state is KeyState.ACTIVE)
    trusted_until = now + deps.token_policy.access_lifetime + CLOCK_SKEW_ALLOWANCE
    with suppress(TransactionConflict):
        async with deps.db.transaction() as tx:
            if not await key_store.mark_key_retired(tx, old, trusted_until=trusted_until):
                return False
            if not await key_store.mark_key_active(tx, new, at=now):
                raise TransactionConflict("The published key no longer exists.")
        KEY_STEPS.labels("activated").inc()
        log.info("signing_key.activated", kid=new, retired=old)
        await _refresh_cache(deps, force=True)
        return True
    return False


async def _add_key(deps: Deps, state: KeyState) -> bool:
    """Create a key in this state. Returns False if there is one already."""
    key = await asyncio.to_thread(deps.key_derivation.new_signing_key)
    async with deps.db.transaction() as tx:
        added = await key_store.add_key(
            tx, kid=key.kid, state=state, private_key=deps.key_derivation.wrap(key), at=deps.clock()
        )
    await _refresh_cache(deps, force=True)
    return added


async def _refresh_cache(deps: Deps, *, force: bool = False) -> None:
    """Reload the cached keys if they are old. Concurrent calls use the cached keys meanwhile."""
    cache = deps.key_cache
    if not force and time.monotonic() - cache.read_at < cache.max_age_seconds:
        return
    if cache.active is not None:
        cache.read_at = time.monotonic()
    try:
        async with deps.db.read_only() as tx:
            stored = await key_store.list_wrapped_keys(tx, now=deps.clock())
    except Unavailable:
        if cache.active is None:
            raise
        return
    cached = {key.kid: key for key in cache.keys}
    _update_cache(
        cache,
        [
            cached.get(key.kid) or deps.key_derivation.unwrap(key.kid, key.private_key)
            for key in stored
        ],
        next((key.kid for key in stored if key.state is KeyState.ACTIVE), None),
    )


def _update_cache(cache: SigningKeyCache, keys: list[SigningKey], active_kid: str | None) -> None:
    if {key.kid for key in keys} != {key.kid for key in cache.keys}:
        cache.keys = keys
        cache.public_keys = {key.kid: key.private_key.public_key() for key in keys}
        cache.jwks = [key.jwk() for key in keys]
    cache.active = next((key for key in keys if key.kid == active_kid), None)
    cache.read_at = time.monotonic() if cache.active else float("-inf")
