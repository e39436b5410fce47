"""Applies a user's accommodations to an answer that is about to be scored."""

from dataclasses import replace
from uuid import UUID

from coach_ai.deps import Deps
from coach_ai.domain import Answer
from coach_ai.store import profiles


async def apply_accommodations(deps: Deps, user_id: UUID, answer: Answer) -> Answer:
    """Return the answer with what the user's profile has switched off.

    Call it once per scoring, so that scores and remarks follow the same setting.
    """
    async with deps.db.read_only() as tx:
        switched_off = await profiles.list_accommodations(tx, user_id)
    return replace(answer, accommodations=tuple(switched_off))
