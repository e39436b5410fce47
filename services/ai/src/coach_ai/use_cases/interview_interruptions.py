"""Records that the candidate began to answer before the interviewer's turn was over."""

from dataclasses import replace
from uuid import UUID

from prometheus_client import Counter

from coach_ai.deps import Deps
from coach_ai.interview.model import Turn
from coach_ai.store import interviews
from coach_ai.use_cases.interview_voice import TurnNotFound
from coach_common.identity import Identity

INTERRUPTIONS = Counter(
    "coach_ai_interview_interruptions", "Turns of interviewers that candidates interrupted."
)


async def interrupt_turn(
    deps: Deps, caller: Identity, interview_id: UUID, number: int | None
) -> Turn:
    """Record that a turn was interrupted, by default the last one. Return it.

    The text of the turn is kept. A repeated call changes nothing.

    Raises:
        InterviewNotFound: If the interview does not exist or belongs to another user.
        TurnNotFound: If it has no such turn.
    """
    async with deps.db.transaction() as tx:
        interview = await interviews.get_interview(tx, interview_id, user_id=caller.user_id)
        if not await interviews.lock_interview(tx, interview):
            raise interviews.InterviewNotFound
        turns = await interviews.list_turns(tx, interview_id)
        wanted = turns[-1].number if number is None else number
        turn = next((one for one in turns if one.number == wanted), None)
        if turn is None:
            raise TurnNotFound
        if turn.interrupted_at is not None:
            return turn
        turn = replace(turn, interrupted_at=deps.clock())
        await interviews.update_turn(tx, interview, turn)
    INTERRUPTIONS.inc()
    return turn
