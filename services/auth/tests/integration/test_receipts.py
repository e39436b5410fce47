"""Receipts of deletions: who confirms them, and who can verify them."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from coach_auth.receipts import SERVICES_BY_KIND, ReceiptKind
from coach_auth.tables import DELETIONS
from coach_auth.use_cases import receipts
from coach_common.events.catalog import SessionDeleted, UserDeleted
from coach_common.events.deletions import (
    AiConfirmedDeletion,
    DeletionCompleted,
    MediaConfirmedDeletion,
    SessionsConfirmedDeletion,
)
from coach_common.events.interviews import InterviewDeleted
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock
from coach_common.testing.harness import deliver_event, emitted_events


def _metric() -> float | None:
    return REGISTRY.get_sample_value("coach_auth_deletion_receipts_overdue")


async def _verify(client: httpx.AsyncClient, signature: str) -> dict[str, Any]:
    """Return the content of a receipt that the JWKS verifies."""
    header = jwt.get_unverified_header(signature)
    assert header["typ"] == "deletion-receipt+jwt"
    keys = (await client.get("/.well-known/jwks.json")).json()["keys"]
    (key,) = (jwt.PyJWK(one) for one in keys if one["kid"] == header["kid"])
    # The clock of the service is ahead of the library's.
    options = {"require": ["iss", "iat"], "verify_iat": False}
    return jwt.decode(signature, key, ["RS256"], options=options)


async def test_account_receipt_is_signed_when_every_service_has_confirmed(
    service: Service, client: httpx.AsyncClient, phone: Any, clock: FakeClock
) -> None:
    deleted = await phone.call("DELETE", "/auth/me", password="correct horse")
    path = deleted.headers["location"]
    receipt_id = UUID(path.removeprefix("/privacy/receipts/"))
    for event in (SessionsConfirmedDeletion, AiConfirmedDeletion, AiConfirmedDeletion):
        assert (await deliver_event(service, event(receipt_id=receipt_id))).outcome.value == "done"
    clock.advance(3601)
    await receipts.count_overdue(service.deps)
    pending, overdue = await client.get(path), _metric()
    await deliver_event(service, MediaConfirmedDeletion(receipt_id=receipt_id))
    complete = (await client.get(path)).json()
    await receipts.count_overdue(service.deps)

    assert deleted.status_code == 204
    assert (pending.json()["status"], pending.json()["outstanding"]) == ("pending", ["media"])
    assert pending.json()["signature"] is None
    assert pending.headers["retry-after"] == "30"
    assert (overdue, _metric()) == (1, 0)
    assert (complete["status"], complete["outstanding"]) == ("complete", [])
    content = await _verify(client, complete["signature"])
    assert content["receipt_id"] == str(receipt_id)
    assert list(content["services"]) == ["auth", "sessions", "media", "ai"]
    assert content["services"]["media"] == content["completed_at"] > content["requested_at"]
    for text in (str(complete), str(content)):
        assert phone.user["id"] not in text
        assert phone.user["email"] not in text
    as_token = {"authorization": f"Bearer {complete['signature']}"}
    assert (await client.get("/auth/me", headers=as_token)).status_code == 401
    assert (await client.get(f"/privacy/receipts/{uuid4()}")).json()["code"] == "receipt_not_found"
    assert service.database is not None
    async with service.database.read_only() as tx:
        assert await tx.fetch_all(select(DELETIONS)) == []


async def test_session_receipt_counts_confirmations_in_any_order(
    service: Service, client: httpx.AsyncClient
) -> None:
    receipt_id, path = uuid4(), "/privacy/receipts/"
    deletion = SessionDeleted(session_id=new_id(), user_id=new_id(), receipt_id=receipt_id)
    await deliver_event(service, AiConfirmedDeletion(receipt_id=receipt_id))
    early = await client.get(f"{path}{receipt_id}")
    await deliver_event(service, deletion)
    pending = (await client.get(f"{path}{receipt_id}")).json()
    await deliver_event(service, MediaConfirmedDeletion(receipt_id=receipt_id))
    complete = (await client.get(f"{path}{receipt_id}")).json()
    await deliver_event(service, deletion.model_copy(update={"is_repeated": True}))

    assert early.status_code == 404
    assert (pending["kind"], pending["outstanding"]) == ("session", ["media"])
    assert (await _verify(client, complete["signature"]))["kind"] == "session"
    # Once when the receipt was complete, and again because sessions repeated the deletion.
    completed = await emitted_events(service.database, DeletionCompleted)
    assert [one.receipt_id for one in completed] == [receipt_id] * 2


@pytest.mark.parametrize("has_session_event", [True, False])
async def test_interview_receipt_is_complete_with_the_deletion_of_ai(
    service: Service, client: httpx.AsyncClient, clock: FakeClock, has_session_event: bool
) -> None:
    receipt_id, interview_id, user_id = uuid4(), new_id(), new_id()
    of_sessions = SessionDeleted(
        session_id=interview_id, user_id=user_id, receipt_id=receipt_id, kind="interview"
    )
    of_ai = InterviewDeleted(
        interview_id=interview_id,
        user_id=user_id,
        receipt_id=receipt_id,
        deleted_at=clock(),
    )
    confirmations = [SessionsConfirmedDeletion(receipt_id=receipt_id)]
    for event in ([of_sessions] if has_session_event else confirmations) + [of_ai]:
        assert (await deliver_event(service, event)).outcome.value == "done"
    path = f"/privacy/receipts/{receipt_id}"
    pending = (await client.get(path)).json()
    await deliver_event(service, MediaConfirmedDeletion(receipt_id=receipt_id))
    complete = (await client.get(path)).json()
    await deliver_event(service, of_ai.model_copy(update={"is_repeated": True}))

    assert pending["outstanding"] == ["media"]
    content = await _verify(client, complete["signature"])
    assert (content["kind"], set(content["services"])) == ("session", {"sessions", "media", "ai"})
    assert str(interview_id) not in str(complete) + str(content)
    # Once when the receipt was complete, and again because ai repeated the deletion.
    completed = await emitted_events(service.database, DeletionCompleted)
    assert [one.receipt_id for one in completed] == [receipt_id] * 2


def test_every_service_that_deletes_must_confirm() -> None:
    account = (UserDeleted.source, *UserDeleted.consumers)
    session = {SessionDeleted.source, *SessionDeleted.consumers} - {"auth"}
    interview = {InterviewDeleted.source, *InterviewDeleted.consumers} - {"auth"}

    assert SERVICES_BY_KIND[ReceiptKind.ACCOUNT] == account
    assert set(SERVICES_BY_KIND[ReceiptKind.SESSION]) == session == interview
