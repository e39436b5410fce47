"""The daily token budget: reserved before a request, settled afterwards, with its cost."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from coach_ai.deps import Deps
from coach_ai.store import token_budgets
from coach_ai.tables import BUDGETS, SCORING_USAGE
from coach_ai.token_usage import TokenUsage
from coach_ai.use_cases import budget, jobs
from coach_ai.use_cases.feedback import fail_feedback, score_session
from coach_common.errors import CoachError, TooManyRequests, Unavailable
from coach_common.events.catalog import FeedbackGenerated, SessionCompleted
from coach_common.http.dependencies import get_app_state
from coach_common.ids import new_id
from coach_common.service import Service, listen, running
from coach_common.testing.fakes import FakeClock, TokenIssuer
from coach_common.testing.harness import deliver_event, emitted_events, http_client, wait_until

MAX_TOKENS = 30


@pytest.fixture
def deps(deps: Deps, coach: Any) -> Deps:
    """A daily budget of 100 tokens. Each request reserves 30 and uses 12."""
    coach.max_tokens, coach.tokens = 30, 12
    return replace(deps, daily_tokens=100, prices={"s1": (0.25, 2.0)})


@pytest.fixture
def served(service: Service, deps: Deps) -> Service:
    """The service with these dependencies."""
    get_app_state(service.app).deps = deps
    return service


async def _budget_tokens(deps: Deps, user_id: UUID) -> int:
    async with deps.db.read_only() as tx:
        row = await tx.fetch_one(
            select(BUDGETS.c.tokens).where(
                BUDGETS.c.user_id == user_id, BUDGETS.c.day == deps.clock().date()
            )
        )
    return 0 if row is None else int(row["tokens"])


async def _score_session(service: Service, deps: Deps, user_id: UUID) -> UUID:
    session_id = new_id()
    await deliver_event(
        service,
        SessionCompleted(
            session_id=session_id, user_id=user_id, title="T", question="Q?",
            duration_seconds=6, audio_s3_key=None, transcript="Words.",
        ),
    )  # fmt: skip
    job = await jobs.FairScheduler("test").claim(deps, jobs.JobKind.FEEDBACK)
    assert job is not None
    await jobs.run_job(deps, job, score_session, fail_feedback)
    return session_id


async def test_parallel_reservations_stay_within_the_daily_budget(
    deps: Deps, user_id: UUID
) -> None:
    all_reserved = asyncio.Event()
    outcomes: list[str] = []

    async def ask() -> None:
        try:
            async with budget.reserve_budget(deps, user_id, "score", MAX_TOKENS) as spent:
                outcomes.append("passed")
                await all_reserved.wait()
                spent.add("s1", 10, 2)
        except TooManyRequests:
            outcomes.append("refused")

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(ask())
        while len(outcomes) < 20:
            await asyncio.sleep(0.01)
        all_reserved.set()

    assert sorted(outcomes) == ["passed"] * 3 + ["refused"] * 17
    assert await _budget_tokens(deps, user_id) == 36


async def test_unused_reservation_is_returned(deps: Deps, user_id: UUID) -> None:
    for _ in range(6):
        async with budget.reserve_budget(deps, user_id, "score", MAX_TOKENS) as spent:
            spent.add("s1", 10, 2)

    # 72 are spent: no room for 30 more, though there would be for 12.
    with pytest.raises(TooManyRequests) as refused:
        async with budget.reserve_budget(deps, user_id, "score", MAX_TOKENS):
            raise AssertionError("it was let through")

    assert await _budget_tokens(deps, user_id) == 72
    assert 0 < refused.value.retry_after_seconds <= 24 * 3600 + 1
    async with budget.reserve_budget(deps, new_id(), "score", MAX_TOKENS):
        pass


async def test_failed_request_counts_the_tokens_it_used(deps: Deps, user_id: UUID) -> None:
    with pytest.raises(Unavailable):
        async with budget.reserve_budget(deps, user_id, "score", MAX_TOKENS) as spent:
            spent.add("s1", 7, 0)
            raise Unavailable("Unavailable.")

    assert await _budget_tokens(deps, user_id) == 7


async def test_crash_keeps_budget_reserved(deps: Deps, user_id: UUID) -> None:
    async with deps.db.transaction() as tx:
        day = deps.clock().date()
        assert await token_budgets.reserve_tokens(tx, user_id, day=day, tokens=30, limit=100)

    assert await _budget_tokens(deps, user_id) == 30


async def test_midnight_resets_budget_despite_open_reservations(
    deps: Deps, user_id: UUID, clock: FakeClock
) -> None:
    yesterday = deps.clock().date()
    async with budget.reserve_budget(deps, user_id, "score", MAX_TOKENS):
        clock.advance(24 * 3600)
        async with budget.reserve_budget(deps, user_id, "score", MAX_TOKENS) as spent:
            spent.add("s1", 5, 0)

    assert await _budget_tokens(deps, user_id) == 5
    assert deps.clock().date() == yesterday + timedelta(days=1)


async def test_reservation_above_daily_budget_is_rejected(deps: Deps, user_id: UUID) -> None:
    with pytest.raises(TooManyRequests):
        async with budget.reserve_budget(
            replace(deps, daily_tokens=29), user_id, "score", MAX_TOKENS
        ):
            raise AssertionError("it was let through")


async def test_scoring_stores_tokens_seconds_and_cost(
    served: Service, deps: Deps, user_id: UUID
) -> None:
    session_id = await _score_session(served, deps, user_id)

    async with deps.db.read_only() as tx:
        (row,) = await tx.fetch_all(select(SCORING_USAGE))
    assert (row["session_id"], row["model"], row["tokens"]) == (session_id, "s1", 12)
    assert (row["tokens_in"], row["tokens_out"], row["cost_microdollars"]) == (12, 0, 3)
    assert row["seconds"] > 0


async def test_unpriced_model_stores_null_cost(served: Service, deps: Deps, user_id: UUID) -> None:
    await _score_session(served, replace(deps, prices={"s2": (1.0, 1.0)}), user_id)

    async with deps.db.read_only() as tx:
        (row,) = await tx.fetch_all(select(SCORING_USAGE))
    assert (row["tokens"], row["cost_microdollars"]) == (12, None)


@pytest.mark.parametrize(
    ("tokens", "cost"),
    [((0, 0), 0), ((1, 0), 1), ((4, 0), 1), ((1_000_000, 1_000_000), 2_250_000), ((3, 1), 3)],
)
def test_cost_is_in_microdollars_rounded_up(tokens: tuple[int, int], cost: int) -> None:
    assert TokenUsage("s1", *tokens).cost_microdollars({"s1": (0.25, 2.0)}) == cost


async def test_chat_and_scoring_share_the_daily_budget(
    served: Service, deps: Deps, user_id: UUID, client: httpx.AsyncClient
) -> None:
    labels = {"use": "chat", "direction": "in"}
    before = REGISTRY.get_sample_value("coach_ai_model_tokens_total", labels) or 0.0
    history = [await client.post("/ai/chat", json={"message": "Hello"}) for _ in range(6)]
    refused = await client.post("/ai/chat", json={"message": "Hello"})
    await _score_session(served, deps, user_id)

    assert [answer.status_code for answer in history] == [200] * 6
    assert (refused.status_code, refused.json()["code"]) == (429, "budget_spent")
    assert int(refused.headers["retry-after"]) > 0
    assert await _budget_tokens(deps, user_id) == 72
    assert REGISTRY.get_sample_value("coach_ai_model_tokens_total", labels) == before + 72
    assert await emitted_events(served.database, FeedbackGenerated) == []


async def test_abandoned_reply_counts_against_the_budget(
    served: Service, deps: Deps, user_id: UUID, coach: Any, issuer: TokenIssuer
) -> None:
    coach.pieces = ["Breathe. ", asyncio.Event()]
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    stream = {"accept": "text/event-stream"}
    async with (
        running(served, listener),
        http_client(base_url=url, headers=issuer.bearer(user_id) | stream) as client,
    ):
        async with client.stream("POST", "/ai/chat", json={"message": "x"}) as answer:
            # A generator without a reference is closed, and the response with it.
            lines = answer.aiter_lines()
            await anext(lines)
            held = await _budget_tokens(deps, user_id)

        async def is_settled() -> bool:
            return await _budget_tokens(deps, user_id) == 12

        await wait_until(is_settled, description="the tokens that were given back")
    assert held == 30


async def test_summary_over_budget_is_extractive(
    served: Service, deps: Deps, user_id: UUID, coach: Any, client: httpx.AsyncClient
) -> None:
    # What is replied to was not stored yet; what is summed up was.
    coach.max_tokens_needed = lambda work: 30 if work.messages[-1].id is None else 101
    get_app_state(served.app).deps = replace(deps, chat_history_tokens=200)
    first = (await client.post("/ai/chat", json={"message": "How do I begin?"})).json()
    history = {"message": "And then? " * 20, "conversation_id": first["conversation_id"]}

    answers = [await client.post("/ai/chat", json=history) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert coach.contexts[-1].summary.startswith("User: And then?")
    assert await _budget_tokens(deps, user_id) == 48


async def test_unmetered_provider_ignores_the_budget(deps: Deps, user_id: UUID) -> None:
    try:
        async with budget.reserve_budget(replace(deps, daily_tokens=1), user_id, "score", 0):
            pass
    except CoachError:
        pytest.fail("it was refused")

    assert await _budget_tokens(deps, user_id) == 0
