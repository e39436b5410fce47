"""The keys that sign access tokens, from published to gone.

    published ──lead──▶ active ──next one is active──▶ retired ──its last token is out──▶ gone

A key is in the JWKS from its first day to its last. It signs only when every verifier has had
the time to see it (they keep a JWKS for at most two minutes), and stays until the tokens that it
signed have expired. Each step is one conditional update, so that any number of replicas may try.
"""

import asyncio
import time
from contextlib import suppress
from datetime import datetime, timedelta

from prometheus_client import Counter

from coach_auth import store
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
"""How much longer than its own life a token may meet somebody who takes it: clocks that differ,
replicas that read the keys a moment later."""
_UNKNOWN_KID_RELOAD_SECONDS = 1.0


async def get_signing_key(deps: Deps) -> SigningKey:
    """Return the active key; the first call ever makes one."""
    await _refresh_cache(deps)
    if deps.key_cache.active is None:
        # Replicas that start together all try; the unique slot takes one.
        await _add_key(deps, KeyState.ACTIVE)
    if deps.key_cache.active is None:
        raise Unavailable("No signing key is available yet.")
    return deps.key_cache.active


async def get_jwks(deps: Deps) -> list[dict[str, str]]:
    """Return the public keys, RFC 7517."""
    await get_signing_key(deps)
    return deps.key_cache.jwks


async def get_public_keys(deps: Deps, kid: str) -> PublicKeys:
    """Return the public keys by `kid`, for auth's own reading of tokens.

    An unknown `kid` reads again, at most once a second: another replica may have made it.
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
    """Return every key there is, oldest first."""
    async with deps.db.read_only() as tx:
        return await store.list_keys(tx)


async def publish_key(deps: Deps) -> SigningKeyInfo:
    """Publish a key that signs after the lead; where one is published already, return that."""
    await get_signing_key(deps)
    if await _add_key(deps, KeyState.PUBLISHED):
        KEY_STEPS.labels("published").inc()
    return next(key for key in await list_keys(deps) if key.state is KeyState.PUBLISHED)


async def revoke_key(deps: Deps, kid: str) -> None:
    """Remove a key at once, with every token that it signed: for a key that somebody else has.

    Within two minutes nobody takes them (auth's replicas look every 5 s, other verifiers keep the
    JWKS a minute, and a token as checked half a minute); phones meet a 401 and refresh. Where it
    was the active one, its successor signs at once. Raises NoSuchKey.
    """
    replacement = await asyncio.to_thread(deps.key_derivation.new_signing_key)
    now = deps.clock()
    async with deps.db.transaction() as tx:
        previous_state = await store.delete_key(tx, kid)
        if previous_state is None:
            raise SigningKeyNotFound(kid)
        if previous_state is KeyState.ACTIVE:
            published = [k for k in await store.list_keys(tx) if k.state is KeyState.PUBLISHED]
            if not published or not await store.mark_key_active(tx, published[0].kid, at=now):
                wrapped = deps.key_derivation.wrap(replacement)
                await store.add_key(
                    tx, kid=replacement.kid, state=KeyState.ACTIVE, private_key=wrapped, at=now
                )
    KEY_STEPS.labels("revoked").inc()
    log.warning("signing_key.revoked", kid=kid, was=previous_state.value)
    await _refresh_cache(deps, force=True)


async def rotate_keys(deps: Deps) -> RotationStep:
    """Take the step that is due, if one is; tell which. What a worker does every few seconds."""
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
        deleted = await store.delete_expired_keys(tx, now=now)
    if deleted:
        KEY_STEPS.labels("expired").inc(deleted)
        await _refresh_cache(deps, force=True)
    return step


async def _activate(deps: Deps, keys: list[SigningKeyInfo], now: datetime) -> bool:
    """Let the published key sign and retire the active one; False where another replica did."""
    (new,) = (key.kid for key in keys if key.state is KeyState.PUBLISHED)
    (old,) = (key.kid for key in keys if key.state is KeyState.ACTIVE)
    trusted_until = now + deps.token_policy.access_lifetime + CLOCK_SKEW_ALLOWANCE
    with suppress(TransactionConflict):
        async with deps.db.transaction() as tx:
            if not await store.mark_key_retired(tx, old, trusted_until=trusted_until):
                return False
            if not await store.mark_key_active(tx, new, at=now):
                raise TransactionConflict("The published key no longer exists.")
        KEY_STEPS.labels("activated").inc()
        log.info("signing_key.activated", kid=new, retired=old)
        await _refresh_cache(deps, force=True)
        return True
    return False


async def _add_key(deps: Deps, state: KeyState) -> bool:
    """Make a key in this state, unless there is one; tell whether it was added."""
    key = await asyncio.to_thread(deps.key_derivation.new_signing_key)
    async with deps.db.transaction() as tx:
        added = await store.add_key(
            tx, kid=key.kid, state=state, private_key=deps.key_derivation.wrap(key), at=deps.clock()
        )
    await _refresh_cache(deps, force=True)
    return added


async def _refresh_cache(deps: Deps, *, force: bool = False) -> None:
    """Bring the ring up to date where it is old; while one call reads, others use what is there."""
    cache = deps.key_cache
    if not force and time.monotonic() - cache.read_at < cache.max_age_seconds:
        return
    if cache.active is not None:
        cache.read_at = time.monotonic()
    try:
        async with deps.db.read_only() as tx:
            rows = await store.list_wrapped_keys(tx, now=deps.clock())
    except Unavailable:
        if cache.active is None:
            raise
        return
    cached = {key.kid: key for key in cache.keys}
    _update_cache(
        cache,
        [
            cached.get(row["kid"]) or deps.key_derivation.unwrap(row["kid"], row["wrapped"])
            for row in rows
        ],
        next((row["kid"] for row in rows if row["state"] == KeyState.ACTIVE), None),
    )


def _update_cache(cache: SigningKeyCache, keys: list[SigningKey], active_kid: str | None) -> None:
    if {key.kid for key in keys} != {key.kid for key in cache.keys}:
        cache.keys = keys
        cache.public_keys = {key.kid: key.private_key.public_key() for key in keys}
        cache.jwks = [key.jwk() for key in keys]
    cache.active = next((key for key in keys if key.kid == active_kid), None)
    cache.read_at = time.monotonic() if cache.active else float("-inf")
