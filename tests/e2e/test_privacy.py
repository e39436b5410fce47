"""What a person decides about the own data: consent, and deletion with a receipt."""

from typing import Any
from uuid import UUID

import httpx
import pytest
from stacks import RunningStack

from coach_ai.store.consents import find_consent
from coach_common.db.database import Database
from coach_common.testing.harness import wait_until
from coach_embedded.api_client import ApiClient

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


async def test_decision_about_outside_providers_reaches_ai(
    client: ApiClient, stack: RunningStack
) -> None:
    for is_given in (True, False):
        decision = {"purpose": "outside_provider", "is_given": is_given, "version": "2026-11"}
        changed = await client.send("PUT", "/auth/me/consents", json={"consents": [decision]})
        assert changed.status_code == 200, changed.text
    read = await client.send("GET", "/auth/me/consents")
    assert read.json() == changed.json()

    database = Database(stack.ai_database_url, source="ai")

    async def has_refusal() -> bool:
        async with database.read_only() as tx:
            return await find_consent(tx, UUID(client.user_id)) is False

    await wait_until(has_refusal, description="the refusal in ai", timeout_seconds=60)
    await database.close()


async def test_deletions_end_in_a_receipt_that_needs_no_login(
    client: ApiClient, stack: RunningStack
) -> None:
    session_id = await client.open_session("Receipt", "Why us?")
    of_session = await client.send("DELETE", f"/sessions/{session_id}")
    of_account = await client.send("DELETE", "/auth/me", json={"password": "a long test password"})

    async with httpx.AsyncClient(base_url=f"{stack.url}/v1") as anonymous:
        for deleted, kind in ((of_session, "session"), (of_account, "account")):
            assert deleted.status_code == 204, deleted.text
            path = deleted.headers["location"]

            async def is_complete(path: str = path) -> dict[str, Any] | None:
                response = await anonymous.get(path)
                receipt: dict[str, Any] = response.json()
                return receipt if receipt.get("status") == "complete" else None

            receipt = await wait_until(
                is_complete,
                description=f"the receipt of the {kind}",
                timeout_seconds=60,
                interval_seconds=0.1,
            )
            assert receipt["kind"] == kind
            assert len(receipt["signature"].split(".")) == 3
