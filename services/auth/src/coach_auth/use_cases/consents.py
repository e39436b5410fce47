"""Decisions of users by purpose, and the events that carry them to ai."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from prometheus_client import Counter

from coach_auth import consent_store, store
from coach_auth.consent_store import Consent
from coach_auth.deps import Deps
from coach_auth.use_cases.logins import get_active_user
from coach_common.events.consents import ConsentChanged, Purpose
from coach_common.identity import Identity
from coach_common.repair import REPUBLICATION_GROWTH, next_repair_at

CONSENT_CHANGES = Counter(
    "coach_auth_consent_changes", "Decisions of users by purpose.", ["purpose", "decision"]
)

_BATCH_SIZE = 100


async def list_consents(deps: Deps, caller: Identity) -> Mapping[str, Consent]:
    """Return the caller's decisions by purpose. A purpose without a decision is missing."""
    async with deps.db.read_only() as tx:
        await get_active_user(deps, tx, caller)
        return await consent_store.list_consents(tx, caller.user_id)


async def save_consents(
    deps: Deps, caller: Identity, decisions: Sequence[tuple[Purpose, bool, str]]
) -> Mapping[str, Consent]:
    """Store the caller's decisions (purpose, is_given, version) and return all of them.

    A decision that is stored already changes nothing and emits no event.
    """
    async with deps.db.transaction() as tx:
        await get_active_user(deps, tx, caller)
        await store.lock_user(tx, caller.user_id)
        stored = dict(await consent_store.list_consents(tx, caller.user_id))
        for purpose, is_given, version in decisions:
            former, now = stored.get(purpose), deps.clock()
            if former is not None:
                if (former.is_given, former.version) == (is_given, version):
                    continue
                # Also if the clock was set back: the later decision counts.
                now = max(now, former.changed_at + timedelta(microseconds=1))
            consent = Consent(caller.user_id, purpose.value, is_given, version, now)
            await consent_store.save_consent(tx, consent, republish_after=now + deps.repair_delay)
            await tx.emit(_build_event(consent))
            stored[purpose.value] = consent
            CONSENT_CHANGES.labels(purpose.value, "given" if is_given else "withdrawn").inc()
    return stored


async def republish_due(deps: Deps) -> int:
    """Emit the due decisions again; return how many were due.

    A lost withdrawal would have no effect otherwise. Several replicas may run this at the same
    time: each row is claimed by one of them.
    """
    now = deps.clock()
    async with deps.db.read_only() as tx:
        due = await consent_store.list_due(tx, now, limit=_BATCH_SIZE)
    for consent, due_at in due:
        next_at = next_repair_at(
            now,
            waiting_since=consent.changed_at,
            delay=deps.repair_delay,
            growth=REPUBLICATION_GROWTH,
        )
        async with deps.db.transaction() as tx:
            if await consent_store.claim_republication(
                tx, consent, due_at=due_at, republish_after=next_at
            ):
                await tx.emit(_build_event(consent, is_repeated=True))
    return len(due)


def _build_event(consent: Consent, *, is_repeated: bool = False) -> ConsentChanged:
    return ConsentChanged(
        user_id=consent.user_id,
        purpose=consent.purpose,
        is_given=consent.is_given,
        version=consent.version,
        changed_at=consent.changed_at,
        is_repeated=is_repeated,
    )
