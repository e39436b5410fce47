"""Interviews: start, read, list, complete, assess and delete."""

import asyncio
from dataclasses import dataclass, replace
from uuid import UUID

from prometheus_client import Counter

from coach_ai.chat.sanitizer import sanitize
from coach_ai.deps import Deps
from coach_ai.domain import Feedback
from coach_ai.interview.assessment import Assessment, assess
from coach_ai.interview.flow import join_answer
from coach_ai.interview.model import Intent, Interview, InterviewSetup, InterviewStatus, Turn
from coach_ai.interview.plan import choose_plan
from coach_ai.interview.silence import choose_silence_seconds
from coach_ai.interview.wording import write_opening
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.store import deletion, interviews, practice
from coach_ai.use_cases import interview_history
from coach_ai.use_cases.interview_scoring import build_answer, score_answer
from coach_ai.use_cases.profile_matching import add_profile, load_context
from coach_common.db.transaction import Transaction
from coach_common.errors import Conflict, TransactionConflict, Unauthenticated
from coach_common.identity import Identity
from coach_common.ids import new_id

INTERVIEWS = Counter(
    "coach_ai_interviews", "Interviews by step: started, completed, assessed or deleted.", ["step"]
)

_RECENT_INTERVIEWS = 5
"""Questions of so many earlier interviews are avoided."""


class InterviewNotOver(Conflict):
    """The interview still takes messages."""

    code = "interview_not_over"

    def __init__(self) -> None:
        super().__init__("The interview is not over. Complete it first.")


@dataclass(frozen=True, slots=True)
class InterviewDetails:
    """An interview with its turns and, once it is over, its assessment."""

    interview: Interview
    turns: list[Turn]
    assessment: Assessment | None


@dataclass(frozen=True, slots=True)
class InterviewPage:
    """A page of interviews, newest first."""

    interviews: list[tuple[Interview, Assessment | None]]
    has_more: bool


async def start_interview(
    deps: Deps, caller: Identity, setup: InterviewSetup
) -> tuple[Interview, Turn]:
    """Start an interview with a plan from the question bank. Return it with its opening.

    Questions of the caller's last interviews come last. The caller's profile chooses questions too,
    and the greeting quotes the résumé.

    Raises:
        Unauthenticated: If the account was deleted; an access token may outlive it.
    """
    now, interview_id = deps.clock(), new_id()
    bank = await asyncio.to_thread(load_question_bank)
    async with deps.db.read_only() as tx:
        recent = await interviews.list_interviews(tx, caller.user_id, limit=_RECENT_INTERVIEWS)
    avoid = {one.question.id for interview, _ in recent for one in interview.plan.questions}
    context = await load_context(deps, caller.user_id)
    words = "" if context is None else context.words
    plan = choose_plan(bank.values(), setup, seed=str(interview_id), avoid=avoid, context=words)
    setup = await add_profile(deps, setup, plan, context)
    profile = None if context is None else context.profile
    seconds = choose_silence_seconds(setup, profile, default=deps.silence_seconds)
    setup = replace(setup, silence_seconds=seconds)
    quote = "" if setup.profile is None else setup.profile.quote
    greeting = write_opening(setup.persona, plan.questions[0], deps.interviewer.method, quote)
    interview = Interview(interview_id, caller.user_id, setup, plan, now, now)
    opening = Turn(
        number=0,
        question_number=1,
        intent=Intent.ANSWER,
        message="",
        response=sanitize(greeting),
        created_at=now,
    )
    async with deps.db.transaction() as tx:
        if await deletion.is_deleted(tx, caller.user_id):
            raise Unauthenticated("This account no longer exists.", code="account_deleted")
        await interviews.add_interview(tx, interview)
        await interviews.add_turn(tx, interview, opening)
        await interview_history.emit_start(deps, tx, interview)
    INTERVIEWS.labels("started").inc()
    return interview, opening


async def get_interview(deps: Deps, caller: Identity, interview_id: UUID) -> InterviewDetails:
    """Return the caller's interview with all turns.

    Raises:
        InterviewNotFound: If it does not exist or belongs to another user.
    """
    async with deps.db.read_only() as tx:
        return await _load(tx, caller, interview_id)


async def list_interviews(
    deps: Deps, caller: Identity, *, limit: int, before: UUID | None
) -> InterviewPage:
    """Return a page of the caller's interviews, newest first."""
    async with deps.db.read_only() as tx:
        found = await interviews.list_interviews(tx, caller.user_id, limit=limit + 1, before=before)
    return InterviewPage(found[:limit], has_more=len(found) > limit)


async def complete_interview(deps: Deps, caller: Identity, interview_id: UUID) -> InterviewDetails:
    """End the interview and assess it. A repeated call returns the stored assessment.

    Raises:
        InterviewNotFound: If it does not exist or belongs to another user.
        TransactionConflict: If a message was answered at the same time.
    """
    now = deps.clock()
    async with deps.interview_turns.enter(caller.user_id), deps.db.transaction() as tx:
        details = await _load(tx, caller, interview_id)
        if details.interview.status is InterviewStatus.COMPLETED:
            return details
        interview = replace(
            details.interview,
            status=InterviewStatus.COMPLETED,
            completed_at=now,
            updated_at=now,
        )
        if not await interviews.update_progress(tx, interview, turn_count=interview.turn_count):
            raise TransactionConflict("The interview has changed. Please try again.")
        assessment = assess(interview, details.turns, at=now)
        await interviews.save_assessment(tx, interview, assessment, at=now)
        await interview_history.emit_assessment(deps, tx, interview, details.turns, assessment)
    INTERVIEWS.labels("completed").inc()
    return InterviewDetails(interview, details.turns, assessment)


async def assess_interview(deps: Deps, caller: Identity, interview_id: UUID) -> InterviewDetails:
    """Score all answers of a completed interview again and replace its assessment.

    Raises:
        InterviewNotFound: If it does not exist or belongs to another user.
        InterviewNotOver: If it still takes messages.
        TooManyRequests: If the caller's daily token budget is spent.
        Unavailable: If the provider cannot score now. The former assessment stays.
    """
    async with deps.interview_turns.enter(caller.user_id):
        details = await get_interview(deps, caller, interview_id)
        interview, turns = details.interview, details.turns
        if interview.status is not InterviewStatus.COMPLETED:
            raise InterviewNotOver
        rescored: dict[int, Feedback] = {}
        for number, planned in enumerate(interview.plan.questions, 1):
            if text := join_answer(turns, number):
                answer = await build_answer(deps, interview, planned, turns, number, text)
                rescored[number] = await score_answer(deps, caller.user_id, answer)
        now = deps.clock()
        assessment = assess(interview, turns, at=now, rescored=rescored)
        async with deps.db.transaction() as tx:
            if not await interviews.lock_interview(tx, interview):
                raise interviews.InterviewNotFound
            await interviews.save_assessment(tx, interview, assessment, at=now)
            for number, feedback in rescored.items():
                question = interview.plan.questions[number - 1].question
                await practice.record_answer(
                    tx, caller.user_id, question, feedback, answer_id=interview_id, at=now
                )
            await interview_history.emit_assessment(deps, tx, interview, turns, assessment)
    INTERVIEWS.labels("assessed").inc()
    return replace(details, assessment=assessment)


async def delete_interview(deps: Deps, caller: Identity, interview_id: UUID) -> UUID:
    """Delete the caller's interview with its turns and recordings. Return the receipt's id.

    Raises:
        InterviewNotFound: If it does not exist or belongs to another user.
    """
    receipt_id = await interview_history.delete_interview(deps, interview_id, caller.user_id)
    INTERVIEWS.labels("deleted").inc()
    return receipt_id


async def _load(tx: Transaction, caller: Identity, interview_id: UUID) -> InterviewDetails:
    interview = await interviews.get_interview(tx, interview_id, user_id=caller.user_id)
    turns = list(await interviews.list_turns(tx, interview_id))
    assessment = await interviews.find_assessment(tx, interview_id, user_id=caller.user_id)
    return InterviewDetails(interview, turns, assessment)
