"""The user's profile: create, read, replace and delete."""

from dataclasses import replace
from uuid import UUID

from prometheus_client import Counter

from coach_ai.deps import Deps
from coach_ai.domain import Profile, StoredProfile
from coach_ai.profile.document_parser import ParsedDocument, parse_media_type
from coach_ai.profile.index import digest_texts
from coach_ai.store import deletion, profile_indexes, profiles
from coach_common.db.transaction import Transaction
from coach_common.errors import Unauthenticated
from coach_common.identity import Identity

PROFILE_CHANGES = Counter("coach_ai_profile_changes", "Changes of users' profiles.", ["change"])


async def create_profile(deps: Deps, caller: Identity, profile: Profile) -> StoredProfile:
    """Store the caller's profile.

    Raises:
        ProfileExists: If the caller has one.
        Unauthenticated: If the account was deleted; an access token may outlive it.
    """
    now = deps.clock()
    async with deps.db.transaction() as tx:
        if await deletion.is_deleted(tx, caller.user_id):
            raise Unauthenticated("This account no longer exists.", code="account_deleted")
        await profiles.add_profile(tx, caller.user_id, profile, at=now)
    PROFILE_CHANGES.labels("created").inc()
    return StoredProfile(profile, now, now)


async def get_profile(deps: Deps, caller: Identity) -> StoredProfile:
    """Return the caller's profile.

    Raises:
        ProfileNotFound: If the caller has none.
    """
    async with deps.db.read_only() as tx:
        return await profiles.get_profile(tx, caller.user_id)


async def replace_profile(deps: Deps, caller: Identity, profile: Profile) -> StoredProfile:
    """Replace all of the caller's profile.

    Raises:
        ProfileNotFound: If the caller has none.
    """
    now = deps.clock()
    async with deps.db.transaction() as tx:
        stored = await profiles.get_profile(tx, caller.user_id, is_locked=True)
        await profiles.update_profile(tx, caller.user_id, profile, at=now)
        await _erase_outdated_index(tx, caller.user_id, profile)
    PROFILE_CHANGES.labels("replaced").inc()
    return StoredProfile(profile, stored.created_at, now)


async def delete_profile(deps: Deps, caller: Identity) -> None:
    """Delete the caller's profile.

    Raises:
        ProfileNotFound: If the caller has none.
    """
    async with deps.db.transaction() as tx:
        await profiles.erase_profile(tx, caller.user_id)
        await profile_indexes.erase_index(tx, caller.user_id)
    PROFILE_CHANGES.labels("deleted").inc()


async def store_resume(
    deps: Deps, caller: Identity, content_type: str, content: bytes
) -> tuple[StoredProfile, ParsedDocument]:
    """Store the text of a document as the caller's résumé, in a new profile if there is none.

    Raises:
        DocumentRejected: If the document cannot be read.
        Unauthenticated: If the account was deleted; an access token may outlive it.
        Unavailable: If the document cannot be read now.
    """
    document = await deps.documents.parse(parse_media_type(content_type), content)
    now = deps.clock()
    async with deps.db.transaction() as tx:
        if await deletion.is_deleted(tx, caller.user_id):
            raise Unauthenticated("This account no longer exists.", code="account_deleted")
        stored = await profiles.lock_or_add_profile(tx, caller.user_id, at=now)
        profile = replace(stored.profile, resume=document.text)
        await profiles.update_profile(tx, caller.user_id, profile, at=now)
        await _erase_outdated_index(tx, caller.user_id, profile)
    PROFILE_CHANGES.labels("resume_stored").inc()
    return StoredProfile(profile, stored.created_at, now), document


async def _erase_outdated_index(tx: Transaction, user_id: UUID, profile: Profile) -> None:
    """Delete an index that contains passages of former texts."""
    await profile_indexes.erase_index(tx, user_id, except_digest=digest_texts(profile))
