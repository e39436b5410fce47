"""Talking with the coach, from the phone through the gateway and back, on both profiles."""

import json

import httpx
import pytest
from stacks import RunningStack

from coach_embedded.api_client import ApiClient

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_conversation_streams_continues_and_can_be_deleted(
    stack: RunningStack, phone: ApiClient
) -> None:
    first = await phone.call("POST", "/v1/ai/chat", message="How do I tell a story?")
    headers = {"authorization": f"Bearer {phone.token}", "accept": "text/event-stream"}
    follow_up = {
        "message": "Can you give me an example?",
        "conversation_id": first["conversation_id"],
    }

    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30) as client:
        answer = await client.post("/v1/ai/chat", json=follow_up)

    lines = answer.text.splitlines()
    data = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert "content-length" not in answer.headers
    said = "".join(one["text"] for one in data[:-1])
    assert said.startswith("Structuring a story with STAR, an example: ")
    assert data[-1] == {"conversation_id": first["conversation_id"], "provider": "local"}
    where = f"/v1/ai/conversations/{first['conversation_id']}"
    assert [one["text"] for one in (await phone.call("GET", where))["messages"]] == [
        "How do I tell a story?",
        first["reply"],
        "Can you give me an example?",
        said,
    ]
    (listed,) = (await phone.call("GET", "/v1/ai/conversations"))["conversations"]
    assert listed["title"] == "How do I tell a story?"
    await phone.call("DELETE", where, expect=204)
    await phone.call("GET", where, expect=404)
