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
from coach_auth.deps import Deps, KeyRing
from coach_auth.domain import KeyRecord, KeyState, KeyStep, NoSuchKey, next_key_step
from coach_auth.keys import SigningKey
from coach_common import logs
from coach_common.errors import Contended, Unavailable
from coach_common.tokens import PublicKeys

log = logs.get(__name__)

KEY_STEPS = Counter("coach_auth_signing_key_steps", "What happened to signing keys.", ["step"])

SLACK = timedelta(minutes=1)
"""How much longer than its own life a token may meet somebody who takes it: clocks that differ,
replicas that read the keys a moment later."""
_UNKNOWN_SECONDS = 1.0


async def get_signing_key(deps: Deps) -> SigningKey:
    """Return the active key; the first call ever makes one."""
    await _read_keys(deps)
    if deps.key_ring.active is None:
        # Replicas that start together all try; the unique slot takes one.
        await _add_key(deps, KeyState.ACTIVE)
    if deps.key_ring.active is None:
        raise Unavailable("There is no key to sign with yet.")
    return deps.key_ring.active


async def get_jwks(deps: Deps) -> list[dict[str, str]]:
    """Return the public keys, RFC 7517."""
    await get_signing_key(deps)
    return deps.key_ring.jwks


async def get_public_keys(deps: Deps, kid: str) -> PublicKeys:
    """Return the public keys by `kid`, for auth's own reading of tokens.

    An unknown `kid` reads again, at most once a second: another replica may have made it.
    """
    ring = deps.key_ring
    if kid not in ring.public and time.monotonic() - ring.read_at > _UNKNOWN_SECONDS:
        ring.read_at = float("-inf")
    await get_signing_key(deps)
    return ring.public


async def list_keys(deps: Deps) -> list[KeyRecord]:
    """Return every key there is, oldest first."""
    async with deps.db.read() as tx:
        return await store.list_keys(tx)


async def publish_key(deps: Deps) -> KeyRecord:
    """Publish a key that signs after the lead; where one is published already, return that."""
    await get_signing_key(deps)
    if await _add_key(deps, KeyState.PUBLISHED):
        KEY_STEPS.labels("published").inc()
    return next(key for key in await list_keys(deps) if key.state is KeyState.PUBLISHED)


async def retire_key(deps: Deps, kid: str) -> None:
    """Remove a key at once, with every token that it signed: for a key that somebody else has.

    Auth's replicas stop within seconds, other verifiers at their next look at the JWKS, two
    minutes at most; phones meet a 401 and refresh. Where it was the active one, its successor
    signs at once. Raises NoSuchKey.
    """
    spare = await asyncio.to_thread(deps.secret.new_signing_key)
    now = deps.clock()
    async with deps.db.transaction() as tx:
        was = await store.delete_key(tx, kid)
        if was is None:
            raise NoSuchKey(kid)
        if was is KeyState.ACTIVE:
            waiting = [k for k in await store.list_keys(tx) if k.state is KeyState.PUBLISHED]
            if not waiting or not await store.mark_key_active(tx, waiting[0].kid, at=now):
                wrapped = deps.secret.wrap(spare)
                await store.add_key(
                    tx, kid=spare.kid, state=KeyState.ACTIVE, private_key=wrapped, at=now
                )
    KEY_STEPS.labels("removed on purpose").inc()
    log.warning("signing_key.removed_on_purpose", kid=kid, was=was.value)
    await _read_keys(deps, at_once=True)


async def rotate_keys(deps: Deps) -> KeyStep:
    """Take the step that is due, if one is; tell which. What a worker does every few seconds."""
    await get_signing_key(deps)
    now = deps.clock()
    keys = await list_keys(deps)
    step = next_key_step(keys, now, period=deps.key_terms.period, lead=deps.key_terms.lead)
    if step is KeyStep.PUBLISH:
        key = await publish_key(deps)
        log.info("signing_key.published", kid=key.kid)
    elif step is KeyStep.ACTIVATE and not await _activate(deps, keys, now):
        step = KeyStep.NONE
    async with deps.db.transaction() as tx:
        gone = await store.delete_expired_keys(tx, now=now)
    if gone:
        KEY_STEPS.labels("expired").inc(gone)
        await _read_keys(deps, at_once=True)
    return step


async def _activate(deps: Deps, keys: list[KeyRecord], now: datetime) -> bool:
    """Let the published key sign and retire the active one; False where another replica did."""
    (new,) = (key.kid for key in keys if key.state is KeyState.PUBLISHED)
    (old,) = (key.kid for key in keys if key.state is KeyState.ACTIVE)
    trusted_until = now + deps.terms.access + SLACK
    with suppress(Contended):
        async with deps.db.transaction() as tx:
            if not await store.mark_key_retired(tx, old, trusted_until=trusted_until):
                return False
            if not await store.mark_key_active(tx, new, at=now):
                raise Contended("The published key is gone.")
        KEY_STEPS.labels("activated").inc()
        log.info("signing_key.activated", kid=new, retired=old)
        await _read_keys(deps, at_once=True)
        return True
    return False


async def _add_key(deps: Deps, state: KeyState) -> bool:
    """Make a key in this state, unless there is one; tell whether it was added."""
    key = await asyncio.to_thread(deps.secret.new_signing_key)
    async with deps.db.transaction() as tx:
        added = await store.add_key(
            tx, kid=key.kid, state=state, private_key=deps.secret.wrap(key), at=deps.clock()
        )
    await _read_keys(deps, at_once=True)
    return added


async def _read_keys(deps: Deps, *, at_once: bool = False) -> None:
    """Bring the ring up to date where it is old; while one call reads, others use what is there."""
    ring = deps.key_ring
    if not at_once and time.monotonic() - ring.read_at < ring.fresh_seconds:
        return
    if ring.active is not None:
        ring.read_at = time.monotonic()
    try:
        async with deps.db.read() as tx:
            rows = await store.list_wrapped_keys(tx, now=deps.clock())
    except Unavailable:
        if ring.active is None:
            raise
        return
    known = {key.kid: key for key in ring.keys}
    _fill(
        ring,
        [known.get(row["kid"]) or deps.secret.unwrap(row["kid"], row["wrapped"]) for row in rows],
        next((row["kid"] for row in rows if row["state"] == KeyState.ACTIVE), None),
    )


def _fill(ring: KeyRing, keys: list[SigningKey], active: str | None) -> None:
    if {key.kid for key in keys} != {key.kid for key in ring.keys}:
        ring.keys = keys
        ring.public = {key.kid: key.private_key.public_key() for key in keys}
        ring.jwks = [key.jwk() for key in keys]
    ring.active = next((key for key in keys if key.kid == active), None)
    ring.read_at = time.monotonic() if ring.active else float("-inf")
