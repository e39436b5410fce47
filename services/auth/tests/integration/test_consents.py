"""Decisions of users by purpose."""

from typing import Any

from sqlalchemy import select

from coach_auth.tables import CONSENTS
from coach_auth.use_cases import consents
from coach_common.events.consents import ConsentChanged
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock
from coach_common.testing.harness import emitted_events

PATH = "/auth/me/consents"


async def test_decisions_are_stored_by_purpose_and_published_until_deletion(
    service: Service, phone: Any, clock: FakeClock
) -> None:
    async def decide(is_given: bool, version: str = "2026-11") -> Any:
        decision = {"purpose": "outside_provider", "is_given": is_given, "version": version}
        return await phone.call("PUT", PATH, consents=[decision])

    undecided = (await phone.call("GET", PATH)).json()["consents"]
    given, again = await decide(True), await decide(True)
    clock.advance(-60)
    withdrawn = await decide(False)
    stored = (await phone.call("GET", PATH)).json()
    refused = await phone.call("PUT", PATH, consents=[{"purpose": "fame", "is_given": True}])
    unversioned = await decide(True, "")

    assert {one["purpose"]: one["is_given"] for one in undecided} == {
        "storage": None, "outside_provider": None, "improvement": None,
    }  # fmt: skip
    assert given.json() == again.json()
    assert withdrawn.json() == stored
    (decided,) = (one for one in stored["consents"] if one["is_given"] is not None)
    assert (decided["purpose"], decided["is_given"]) == ("outside_provider", False)
    assert (refused.status_code, unversioned.status_code) == (422, 422)
    first, second = await emitted_events(service.database, ConsentChanged)
    assert (first.is_given, second.is_given) == (True, False)
    assert second.changed_at > first.changed_at

    clock.advance(200)
    due = [await consents.republish_due(service.deps) for _ in range(2)]
    assert due == [1, 0]
    repeated = (await emitted_events(service.database, ConsentChanged))[-1]
    assert repeated == second.model_copy(update={"is_repeated": True})
    await phone.call("DELETE", "/auth/me", password="correct horse")
    assert service.database is not None
    async with service.database.read_only() as tx:
        assert await tx.fetch_all(select(CONSENTS)) == []
