"""Chat with the coach through the gateway, on both profiles."""

import json

import httpx
import pytest
from stacks import RunningStack

from coach_embedded.api_client import ApiClient

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_conversation_streams_continues_and_can_be_deleted(
    stack: RunningStack, client: ApiClient
) -> None:
    first = await client.call("POST", "/v1/ai/chat", message="How do I tell a story?")
    headers = {"authorization": f"Bearer {client.token}", "accept": "text/event-stream"}
    follow_up = {
        "message": "Can you give me an example?",
        "conversation_id": first["conversation_id"],
    }

    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30) as http:
        response = await http.post("/v1/ai/chat", json=follow_up)

    lines = response.text.splitlines()
    data = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert "content-length" not in response.headers
    reply = "".join(item["text"] for item in data[:-1])
    assert reply.startswith("Structuring a story with STAR, an example: ")
    assert data[-1] == {"conversation_id": first["conversation_id"], "provider": "local"}
    path = f"/v1/ai/conversations/{first['conversation_id']}"
    assert [item["text"] for item in (await client.call("GET", path))["messages"]] == [
        "How do I tell a story?",
        first["reply"],
        "Can you give me an example?",
        reply,
    ]
    (listed,) = (await client.call("GET", "/v1/ai/conversations"))["conversations"]
    assert listed["title"] == "How do I tell a story?"
    await client.call("DELETE", path, expect=204)
    await client.call("GET", path, expect=404)
