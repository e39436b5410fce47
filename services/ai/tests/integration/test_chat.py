"""Talking with the coach over HTTP."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import TokenIssuer
from coach_common.testing.harness import client_for


async def test_a_conversation_is_remembered(client: httpx.AsyncClient, coach: Any) -> None:
    first = (await client.post("/ai/chat", json={"message": "Hello"})).json()
    await client.post(
        "/ai/chat", json={"message": "More", "conversation_id": first["conversation_id"]}
    )

    assert first["reply"] == "You said: Hello"
    assert first["provider"] == "local"
    conversation, _ = coach.asked[1]
    assert [message.text for message in conversation] == ["Hello", "You said: Hello", "More"]


async def test_somebody_elses_conversation_is_none(
    service: Service, client: httpx.AsyncClient, issuer: TokenIssuer
) -> None:
    mine = (await client.post("/ai/chat", json={"message": "Hello"})).json()
    async with client_for(service, headers=issuer.bearer(new_id())) as bob:
        for conversation_id in (mine["conversation_id"], str(UUID(int=1)), "nonsense"):
            answer = await bob.post(
                "/ai/chat", json={"message": "Hi", "conversation_id": conversation_id}
            )
            assert answer.status_code == 404


@pytest.mark.parametrize(
    ("message", "status"),
    [("🎤" * 8000, 200), ("🎤" * 8001, 422), ("", 422), ("   ", 422), (7, 422)],
)
async def test_a_message_has_one_to_eight_thousand_characters(
    client: httpx.AsyncClient, message: object, status: int
) -> None:
    answer = await client.post("/ai/chat", json={"message": message})

    assert answer.status_code == status
