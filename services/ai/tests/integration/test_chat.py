"""Chat over HTTP: streams, stored conversations and their owners."""

import asyncio
import json
from typing import Any
from uuid import UUID

import httpx
import pytest
from prometheus_client import REGISTRY

from coach_ai.deps import Deps
from coach_ai.use_cases.chat import start_turn
from coach_common.errors import Unavailable
from coach_common.events.catalog import UserDeleted
from coach_common.identity import Identity
from coach_common.ids import new_id
from coach_common.service import Service, listen, running
from coach_common.testing.fakes import FakeClock, TokenIssuer
from coach_common.testing.harness import client_for, deliver_event, http_client, wait_until

STREAM = {"accept": "text/event-stream"}


def frames_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Parse server-sent events as their specification defines."""
    found = []
    for block in text.split("\n\n")[:-1]:
        event, data = block.split("\n")
        found.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def _send(client: httpx.AsyncClient, message: str, **more: Any) -> dict[str, Any]:
    answer = await client.post("/ai/chat", json={"message": message, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def _turns(outcome: str) -> float:
    return REGISTRY.get_sample_value("coach_ai_chat_turns_total", {"outcome": outcome}) or 0.0


async def test_conversation_is_stored_and_continued(client: httpx.AsyncClient, coach: Any) -> None:
    first = await _send(client, "Hello")
    await _send(client, "More", conversation_id=first["conversation_id"])

    assert first["reply"] == "You said: Hello"
    assert first["provider"] == "local"
    assert [message.text for message in coach.contexts[1].messages] == [
        "Hello", "You said: Hello", "More",
    ]  # fmt: skip


async def test_streamed_reply_ends_with_conversation_id(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/ai/chat", json={"message": "Hello"}, headers=STREAM)

    *deltas, (last, done) = frames_of(answer.text)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert [event for event, _ in deltas] == ["delta"] * len(deltas)
    assert "".join(data["text"] for _, data in deltas) == "You said: Hello"
    assert last == "done"
    assert done == {"conversation_id": done["conversation_id"], "provider": "local"}
    read = (await client.get(f"/ai/conversations/{done['conversation_id']}")).json()
    assert [one["text"] for one in read["messages"]] == ["Hello", "You said: Hello"]


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/event-stream2"])
async def test_chat_returns_json_without_event_stream_accept(
    client: httpx.AsyncClient, accept: str
) -> None:
    answer = await client.post("/ai/chat", json={"message": "x"}, headers={"accept": accept})

    assert answer.json()["reply"] == "You said: x"


@pytest.mark.parametrize("line", ["\n", "\r", "\r\n", "\u2028", "\x85"])
async def test_reply_text_cannot_break_an_event(
    client: httpx.AsyncClient, coach: Any, line: str
) -> None:
    forged = f'{line}{line}event: done{line}data: {{"conversation_id": "forged"}}{line}{line}'
    coach.pieces = ["Fine. ", *forged, forged, "End."]

    answer = await client.post("/ai/chat", json={"message": "x"}, headers=STREAM)

    frames = frames_of(answer.text)
    assert [event for event, _ in frames].count("done") == 1
    assert frames[-1][1]["conversation_id"] != "forged"
    assert "\r" not in answer.text and answer.text.isascii()


async def test_markup_is_removed_from_stream_and_stored_reply(
    client: httpx.AsyncClient, coach: Any
) -> None:
    coach.pieces = list("See ![x](http://canary/?q=secret) \x1b[31m\u202enow <b>this</b>.")

    answer = await client.post("/ai/chat", json={"message": "x"}, headers=STREAM)

    frames = frames_of(answer.text)
    replies = "".join(data["text"] for event, data in frames if event == "delta")
    assert replies == "See x now this."
    conversation_id = frames[-1][1]["conversation_id"]
    read = (await client.get(f"/ai/conversations/{conversation_id}")).json()
    assert read["messages"][1]["text"] == replies


async def test_failure_before_first_piece_is_a_problem_response(
    client: httpx.AsyncClient, coach: Any
) -> None:
    coach.pieces = [Unavailable("unavailable", retry_after_seconds=7)]

    answer = await client.post("/ai/chat", json={"message": "x"}, headers=STREAM)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_failure_during_reply_sends_error_event_and_stores_nothing(
    client: httpx.AsyncClient, coach: Any
) -> None:
    coach.pieces = ["Half an ", "answer ", Unavailable("The provider is unavailable.")]

    answer = await client.post("/ai/chat", json={"message": "x"}, headers=STREAM)

    *_, (event, problem) = frames_of(answer.text)
    assert event == "error"
    assert (problem["status"], problem["detail"]) == (503, "The provider is unavailable.")
    assert (await client.get("/ai/conversations")).json()["conversations"] == []


async def test_client_disconnect_ends_reply_and_stores_nothing(
    service: Service, issuer: TokenIssuer, user_id: UUID, coach: Any
) -> None:
    never = asyncio.Event()
    coach.pieces = ["One ", "two ", never]
    abandoned = _turns("abandoned")
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with (
        running(service, listener),
        http_client(base_url=url, headers=issuer.bearer(user_id)) as client,
    ):
        body = {"message": "x"}
        async with client.stream("POST", "/ai/chat", json=body, headers=STREAM) as answer:
            async for line in answer.aiter_lines():
                if "two" in line or "One" in line:
                    break

        async def is_over() -> bool:
            return coach.finished == 1 and _turns("abandoned") == abandoned + 1

        await wait_until(is_over, description="the end of the work")
        assert (await client.get("/ai/conversations")).json()["conversations"] == []


async def test_older_turns_are_summarised_over_the_token_limit(
    client: httpx.AsyncClient, coach: Any, deps: Deps
) -> None:
    long = "How do I tell my story? " * 100
    first = await _send(client, long)
    for _ in range(5):
        await _send(client, long, conversation_id=first["conversation_id"])
    coach.failures = [Unavailable("unavailable")]
    for _ in range(3):
        await _send(client, long, conversation_id=first["conversation_id"])

    for talk in coach.contexts:
        given = sum(len(message.text) for message in talk.messages[:-1])
        assert given / 3 <= deps.chat_history_tokens
    summaries = [talk.summary for talk in coach.contexts]
    assert summaries[0] == ""
    assert any("summed up" in summary for summary in summaries)
    assert "User: How do I tell my story?" in summaries[-1]
    assert coach.failures == []
    read = (await client.get(f"/ai/conversations/{first['conversation_id']}")).json()
    assert len(read["messages"]) == 18


async def test_conversations_are_listed_by_last_use(
    client: httpx.AsyncClient, clock: FakeClock
) -> None:
    ids = []
    for number in range(5):
        clock.advance(seconds=1)
        ids.append(
            (await _send(client, f"Question {number} " + "and more " * 30))["conversation_id"]
        )
    clock.advance(seconds=1)
    await _send(client, "Again", conversation_id=ids[0])

    pages, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/ai/conversations", params=query)).json()
        pages.append(page["conversations"])
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert [len(page) for page in pages] == [2, 2, 1]
    listed = [one for page in pages for one in page]
    assert [one["id"] for one in listed] == [ids[0], *reversed(ids[1:])]
    assert listed[0]["title"].startswith("Question 0 and more")
    assert len(listed[0]["title"]) <= 80
    assert listed[0]["updated_at"] > listed[0]["created_at"]
    assert (await client.get("/ai/conversations", params={"cursor": "x"})).status_code == 422


async def test_long_conversation_is_paginated(client: httpx.AsyncClient) -> None:
    first = await _send(client, "0")
    where = f"/ai/conversations/{first['conversation_id']}"
    for number in range(1, 4):
        await _send(client, str(number), conversation_id=first["conversation_id"])

    newest = (await client.get(where, params={"limit": 5})).json()
    oldest = (await client.get(where, params={"limit": 5, "cursor": newest["next_cursor"]})).json()

    texts = [one["text"] for one in oldest["messages"] + newest["messages"]]
    assert texts == [text for n in range(4) for text in (str(n), f"You said: {n}")]
    assert oldest["next_cursor"] is None
    assert {one["role"] for one in newest["messages"]} == {"user", "assistant"}


async def test_deleted_conversation_returns_404(client: httpx.AsyncClient, deps: Deps) -> None:
    first = await _send(client, "Hello")
    kept = await _send(client, "Another")
    where = f"/ai/conversations/{first['conversation_id']}"

    assert (await client.delete(where)).status_code == 204

    assert (await client.delete(where)).status_code == 404
    assert (await client.get(where)).status_code == 404
    again = {"message": "x", "conversation_id": first["conversation_id"]}
    assert (await client.post("/ai/chat", json=again)).status_code == 404
    (listed,) = (await client.get("/ai/conversations")).json()["conversations"]
    assert listed["id"] == kept["conversation_id"]


async def test_conversation_deleted_during_reply_stays_deleted(
    service: Service, client: httpx.AsyncClient, coach: Any
) -> None:
    first = await _send(client, "Hello")
    gate = asyncio.Event()
    coach.pieces = ["One ", gate, "two"]
    body = {"message": "More", "conversation_id": first["conversation_id"]}
    turn = asyncio.create_task(client.post("/ai/chat", json=body))

    async def has_started() -> bool:
        return len(coach.contexts) == 2

    await wait_until(has_started, description="the second turn")
    where = f"/ai/conversations/{first['conversation_id']}"
    assert (await client.delete(where)).status_code == 204
    gate.set()

    assert (await turn).status_code == 404
    assert (await client.get(where)).status_code == 404


async def test_user_deletion_removes_conversations(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    first = await _send(client, "Hello")

    await deliver_event(service, UserDeleted(user_id=user_id))

    assert (await client.get("/ai/conversations")).json()["conversations"] == []
    where = f"/ai/conversations/{first['conversation_id']}"
    assert (await client.get(where)).status_code == 404


async def test_other_users_conversation_returns_404(
    service: Service, client: httpx.AsyncClient, issuer: TokenIssuer
) -> None:
    mine = await _send(client, "Hello")
    async with client_for(service, headers=issuer.bearer(new_id())) as bob:
        for conversation_id in (mine["conversation_id"], str(UUID(int=1)), "nonsense"):
            where = f"/ai/conversations/{conversation_id}"
            body = {"message": "Hi", "conversation_id": conversation_id}
            for headers in ({}, STREAM):
                answer = await bob.post("/ai/chat", json=body, headers=headers)
                assert answer.status_code == 404
            assert (await bob.get(where)).status_code == 404
            assert (await bob.delete(where)).status_code == 404
        assert (await bob.get("/ai/conversations")).json()["conversations"] == []
    assert (await client.get(f"/ai/conversations/{mine['conversation_id']}")).status_code == 200


@pytest.mark.parametrize(
    ("message", "status"),
    [("🎤" * 8000, 200), ("🎤" * 8001, 422), ("", 422), ("   ", 422), (7, 422)],
)
async def test_message_length_is_validated(
    client: httpx.AsyncClient, message: object, status: int
) -> None:
    answer = await client.post("/ai/chat", json={"message": message})

    assert answer.status_code == status


async def test_second_turn_of_a_user_sees_the_reply_of_the_first(
    client: httpx.AsyncClient, coach: Any
) -> None:
    conversation_id = (await _send(client, "Hello"))["conversation_id"]
    released = asyncio.Event()
    coach.pieces = ["Slow", released, " reply"]

    async def first_turn_runs() -> bool:
        return len(coach.contexts) == 2

    slow = asyncio.create_task(_send(client, "One", conversation_id=conversation_id))
    await wait_until(first_turn_runs, description="the first turn")
    quick = asyncio.create_task(_send(client, "Two", conversation_id=conversation_id))
    await asyncio.sleep(0.05)
    assert len(coach.contexts) == 2

    released.set()
    await asyncio.gather(slow, quick)

    assert [one.text for one in coach.contexts[2].messages][-3:] == ["One", "Slow reply", "Two"]


async def test_dropped_turn_lets_the_next_one_run(deps: Deps, clock: FakeClock) -> None:
    caller = Identity(new_id(), new_id(), clock())
    dropped = await start_turn(deps, caller, message="Hello", conversation_id=None)
    await dropped.pieces.aclose()

    turn = await start_turn(deps, caller, message="Hello", conversation_id=None)

    assert "".join([piece async for piece in turn.pieces]) == "You said: Hello"
