"""A stronger version of a scored answer: written once, then stored."""

from uuid import UUID

from prometheus_client import Counter

from coach_ai.deps import Deps
from coach_ai.domain.rewrites import Rewrite
from coach_ai.store import rewrites
from coach_ai.use_cases import budget
from coach_common.identity import Identity

REWRITES = Counter(
    "coach_ai_rewrites",
    "Requests for a rewrite by outcome: written, stored (from an earlier request) or failed.",
    ["outcome"],
)


async def rewrite_answer(deps: Deps, caller: Identity, session_id: UUID) -> Rewrite:
    """Return the rewrite of the caller's scored answer. If its feedback changed, write it again.

    Waits for a rewrite of the same user that runs, so that no provider is called twice.

    Raises:
        SessionNotFound: If the session does not exist or belongs to another user.
        FeedbackPending: If it has no feedback yet.
        AnswerNotScored: If its feedback has no score.
        TooManyRequests: If the caller's daily token budget is spent.
        Unavailable: If the provider cannot write now.
    """
    outcome = "failed"
    try:
        async with deps.rewrites.enter(caller.user_id):
            async with deps.db.read_only() as tx:
                scored = await rewrites.get_scored_answer(tx, session_id, caller.user_id)
                stored = await rewrites.find_rewrite(tx, session_id, digest=scored.digest)
            if stored is not None:
                outcome = "stored"
                return stored
            max_tokens = deps.rewriter.max_tokens_needed(scored.answer, scored.feedback)
            async with budget.reserve_budget(deps, caller.user_id, "rewrite", max_tokens) as usage:
                written = await deps.rewriter.rewrite(scored.answer, scored.feedback, usage)
            async with deps.db.transaction() as tx:
                await rewrites.save_rewrite(
                    tx,
                    session_id,
                    caller.user_id,
                    written,
                    digest=scored.digest,
                    at=deps.clock(),
                )
            outcome = "written"
            return written
    finally:
        REWRITES.labels(outcome).inc()
