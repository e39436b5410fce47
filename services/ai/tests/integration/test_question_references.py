"""The question that a session names, from its events to the scorer and the feedback."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from coach_ai.deps import Deps
from coach_ai.domain import (
    Answer,
    DimensionLevel,
    Feedback,
    Importance,
    JobKind,
    PointCoverage,
    PointStatus,
    QuestionType,
    Seniority,
)
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.token_usage import TokenUsage
from coach_ai.use_cases import feedback, jobs
from coach_common.events.catalog import FeedbackGenerated, SessionCompleted, SessionCreated
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.harness import deliver_event, emitted_events

NAMED = {"question_id": "db-index", "seniority": "senior", "role": "Database engineer"}


def _created(session_id: UUID, user_id: UUID, **named: Any) -> SessionCreated:
    return SessionCreated(session_id=session_id, user_id=user_id, title="T", **named)


def _completed(session_id: UUID, user_id: UUID, **named: Any) -> SessionCompleted:
    return SessionCompleted(
        session_id=session_id,
        user_id=user_id,
        title="T",
        question="What does an index do?",
        duration_seconds=None,
        transcript="An index makes reads faster.",
        **named,
    )


async def _score(deps: Deps) -> None:
    job = await jobs.FairScheduler("test").claim(deps, JobKind.FEEDBACK)
    assert job is not None
    await jobs.run_job(deps, job, feedback.score_session, feedback.fail_feedback)


@pytest.mark.parametrize("is_created_first", [True, False])
async def test_scorer_gets_named_question_for_any_order_of_events(
    service: Service, deps: Deps, user_id: UUID, coach: Any, *, is_created_first: bool
) -> None:
    session_id = new_id()
    events = [_created(session_id, user_id, **NAMED), _completed(session_id, user_id, **NAMED)]
    for event in events if is_created_first else reversed(events):
        await deliver_event(service, event)

    await _score(deps)

    (answer,) = coach.scored_answers
    assert answer.reference == load_question_bank()["db-index"]
    assert (answer.seniority, answer.role) == (Seniority.SENIOR, "Database engineer")


@pytest.mark.parametrize("change", ["PUT", "DELETE"])
async def test_later_change_of_own_question_changes_no_reference(
    service: Service,
    deps: Deps,
    client: httpx.AsyncClient,
    user_id: UUID,
    coach: Any,
    change: str,
) -> None:
    body = {"text": "What is X?", "type": "knowledge", "points": [{"text": "X is Y."}]}
    question_id = (await client.post("/questions", json=body)).json()["id"]
    named, session_id = {"question_id": question_id}, new_id()
    await deliver_event(service, _created(session_id, user_id, **named))

    changed = body | {"points": [{"text": "X is Z."}]}
    await client.request(change, f"/questions/{question_id}", json=changed)
    await deliver_event(service, _completed(session_id, user_id, **named))
    await _score(deps)

    (answer,) = coach.scored_answers
    assert [point.text for point in answer.reference.points] == ["X is Y."]


async def test_question_of_another_user_is_no_reference(
    service: Service, deps: Deps, client: httpx.AsyncClient, coach: Any
) -> None:
    body = {"text": "What is X?", "type": "knowledge", "points": [{"text": "X is Y."}]}
    question_id = (await client.post("/questions", json=body)).json()["id"]
    await deliver_event(service, _completed(new_id(), new_id(), question_id=question_id))

    await _score(deps)

    (answer,) = coach.scored_answers
    assert answer.reference is None


@pytest.mark.parametrize(
    "named", [{}, {"question_id": "no-such-question"}, {"seniority": "added-later"}]
)
async def test_answer_without_known_question_has_no_reference(
    service: Service, deps: Deps, user_id: UUID, coach: Any, named: dict[str, str]
) -> None:
    await deliver_event(service, _completed(new_id(), user_id, **named))

    await _score(deps)

    (answer,) = coach.scored_answers
    assert (answer.reference, answer.seniority, answer.role) == (None, None, None)


async def test_feedback_event_carries_points_dimensions_and_versions(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    class PointScorer:
        async def check(self) -> None: ...

        def max_tokens_needed(self, answer: Answer) -> int:
            return 0

        async def score(self, answer: Answer, usage: TokenUsage) -> Feedback:
            return Feedback(
                70, 71, 72, 73, (), "Good.", "scripted", "s1", "1",
                points=(
                    PointCoverage(
                        "p", "A point.", Importance.MUST, PointStatus.CONTRADICTED,
                        quote="An index", misconception="Indexes slow reads down.",
                    ),
                ),
                dimensions=(DimensionLevel("technical", None, 0.35),),
                score_spread=2.5,
                prompt_version="v9",
                question_type=QuestionType.KNOWLEDGE,
                seniority=Seniority.SENIOR,
            )  # fmt: skip

    await deliver_event(service, _completed(new_id(), user_id, **NAMED))

    await _score(replace(deps, scorer=PointScorer()))  # type: ignore[arg-type]

    (event,) = await emitted_events(service.database, FeedbackGenerated)
    sent = event.model_dump(mode="json")
    assert sent["points"] == [
        {
            "id": "p",
            "text": "A point.",
            "importance": "must",
            "status": "contradicted",
            "quote": "An index",
            "start_seconds": None,
            "end_seconds": None,
            "misconception": "Indexes slow reads down.",
        }
    ]
    assert sent["dimensions"] == [{"name": "technical", "level": None, "weight": 0.35}]
    assert (sent["score_spread"], sent["prompt_version"]) == (2.5, "v9")
    assert (sent["question_type"], sent["seniority"]) == ("knowledge", "senior")


async def test_internal_question_returns_text_without_points(client: httpx.AsyncClient) -> None:
    found = await client.get("/internal/questions/db-index")

    assert found.json() == {"id": "db-index", "text": load_question_bank()["db-index"].text}
    unknown = await client.get("/internal/questions/no-such")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "question_not_found")
