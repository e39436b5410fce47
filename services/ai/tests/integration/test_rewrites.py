"""Rewrites over HTTP: states of the session, the stored version, failures, owners, deletion."""

import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select, update

from coach_ai.deps import Deps
from coach_ai.domain import Answer, CannotScore, Feedback
from coach_ai.domain.rewrites import Rewrite, RewrittenSentence
from coach_ai.store import rewrites
from coach_ai.tables import ANSWERS, REWRITES
from coach_ai.token_usage import TokenUsage
from coach_common.errors import Unavailable
from coach_common.events.catalog import SessionCreated, SessionDeleted, UserDeleted
from coach_common.http.dependencies import get_app_state
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import TokenIssuer
from coach_common.testing.harness import client_for, deliver_event
from support.ai_jobs import Case, run_jobs

ANSWER = "Last year I fixed a broken build. I measured every step. It took two days."


@dataclass
class ScriptedRewriter:
    """Returns the answer and a blank, or raises the scripted failures."""

    failures: list[Exception] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    max_tokens: int = 0

    def max_tokens_needed(self, answer: Answer, feedback: Feedback) -> int:
        return self.max_tokens

    async def rewrite(self, answer: Answer, feedback: Feedback, usage: TokenUsage) -> Rewrite:
        self.answers.append(answer)
        usage.add("s1", self.max_tokens // 2, 0)
        if self.failures:
            raise self.failures.pop(0)
        sentences = (RewrittenSentence(answer.text, answer.text), RewrittenSentence("[Why?]"))
        return Rewrite(sentences, "scripted", "s1", f"Number {len(self.answers)}.")

    async def check(self) -> None:
        return None

    async def close(self) -> None:
        return None


@pytest.fixture
def rewriter() -> ScriptedRewriter:
    return ScriptedRewriter()


@pytest.fixture(autouse=True)
async def _served(service: Service, rewriter: ScriptedRewriter) -> AsyncIterator[None]:
    state = get_app_state(service.app)
    original = state.deps
    state.deps = replace(original, rewriter=rewriter, daily_tokens=100)
    yield
    state.deps = original


async def _practise(service: Service, user_id: UUID) -> str:
    case = Case(user_id)
    await deliver_event(service, case.completed(key=False, transcript=ANSWER))
    await run_jobs(service.deps)
    return str(case.session_id)


async def _rewrite(client: httpx.AsyncClient, session_id: object) -> tuple[int, Any]:
    response = await client.post(f"/sessions/{session_id}/rewrite")
    body = response.json()
    return response.status_code, body.get("code", body)


async def _count(deps: Deps) -> int:
    async with deps.db.read_only() as tx:
        return await tx.scalar(select(func.count()).select_from(REWRITES)) or 0


async def test_rewrite_is_written_once_and_again_if_the_feedback_changes(
    service: Service, deps: Deps, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _practise(service, user_id)

    first, again = [await _rewrite(client, session_id) for _ in range(2)]

    assert first == again == (
        200,
        {
            "session_id": session_id,
            "rewrite": f"{ANSWER} [Why?]",
            "sentences": [
                {"text": ANSWER, "from": ANSWER, "is_blank": False},
                {"text": "[Why?]", "from": None, "is_blank": True},
            ],
            "blanks": ["[Why?]"],
            "provider": "scripted",
            "model": "s1",
            "note": "Number 1.",
        },
    )  # fmt: skip
    async with deps.db.transaction() as tx:
        await tx.execute(update(ANSWERS).values(scored_transcript=f"{ANSWER} Really."))
    assert (await _rewrite(client, session_id))[1]["note"] == "Number 2."
    assert await _count(deps) == 1


async def test_session_without_feedback_conflicts(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    created = new_id()
    await deliver_event(
        service,
        SessionCreated(session_id=created, user_id=user_id, title="T", question="Q?"),
    )
    completed = Case(user_id)
    await deliver_event(service, completed.completed(key=False, transcript=ANSWER))

    assert await _rewrite(client, created) == (409, "feedback_pending")
    assert await _rewrite(client, completed.session_id) == (409, "feedback_pending")


async def test_answer_without_score_cannot_be_rewritten(
    service: Service, deps: Deps, client: httpx.AsyncClient, user_id: UUID, coach: Any
) -> None:
    coach.failures = [CannotScore("Declined.")]
    refused = await _practise(service, user_id)
    unscored = await _practise(service, user_id)
    async with deps.db.transaction() as tx:
        scored = await rewrites.get_scored_answer(tx, UUID(unscored), user_id)
        empty = asdict(replace(scored.feedback, overall_score=None))
        await tx.execute(
            update(ANSWERS)
            .where(ANSWERS.c.session_id == UUID(unscored))
            .values(feedback=json.dumps(empty))
        )

    assert await _rewrite(client, refused) == (422, "answer_not_scored")
    assert await _rewrite(client, unscored) == (422, "answer_not_scored")


async def test_foreign_and_unknown_sessions_are_not_found(
    service: Service, client: httpx.AsyncClient, user_id: UUID, issuer: TokenIssuer
) -> None:
    session_id = await _practise(service, user_id)

    async with client_for(service, headers=issuer.bearer(new_id())) as stranger:
        assert await _rewrite(stranger, session_id) == (404, "session_not_found")
    assert await _rewrite(client, new_id()) == (404, "session_not_found")
    assert await _rewrite(client, "x") == (404, "session_not_found")


async def test_failure_and_spent_budget_store_nothing(
    service: Service, deps: Deps, client: httpx.AsyncClient, user_id: UUID,
    rewriter: ScriptedRewriter,
) -> None:  # fmt: skip
    session_id = await _practise(service, user_id)
    rewriter.failures, rewriter.max_tokens = [Unavailable("Later.")], 60

    assert await _rewrite(client, session_id) == (503, "unavailable")
    assert await _count(deps) == 0
    rewriter.max_tokens = 80
    assert await _rewrite(client, session_id) == (429, "budget_spent")
    rewriter.max_tokens = 20
    assert (await _rewrite(client, session_id))[0] == 200


async def test_rewrite_is_deleted_with_its_session_and_account(
    service: Service, deps: Deps, client: httpx.AsyncClient, user_id: UUID
) -> None:
    first, second = [await _practise(service, user_id) for _ in range(2)]
    assert [(await _rewrite(client, one))[0] for one in (first, second)] == [200, 200]

    await deliver_event(service, SessionDeleted(session_id=UUID(first), user_id=user_id, keys=[]))
    assert await _count(deps) == 1
    assert await _rewrite(client, first) == (404, "session_not_found")
    await deliver_event(service, UserDeleted(user_id=user_id))
    assert await _count(deps) == 0


async def test_session_deleted_meanwhile_stores_no_rewrite(
    service: Service, deps: Deps, client: httpx.AsyncClient, user_id: UUID,
    rewriter: ScriptedRewriter, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    session_id = await _practise(service, user_id)
    write = rewriter.rewrite

    async def delete_and_write(*work: Any) -> Rewrite:
        deleted = SessionDeleted(session_id=UUID(session_id), user_id=user_id, keys=[])
        await deliver_event(service, deleted)
        return await write(*work)

    monkeypatch.setattr(rewriter, "rewrite", delete_and_write)

    assert await _rewrite(client, session_id) == (404, "session_not_found")
    assert await _count(deps) == 0
