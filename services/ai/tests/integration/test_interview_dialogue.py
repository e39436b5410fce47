"""Words in a silence, and interruptions of the interviewer, over HTTP."""

from typing import Any

import httpx

from coach_ai.deps import Deps
from coach_ai.interview.wording import load_phrases
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, TokenIssuer
from coach_common.testing.harness import client_for

PATH = "/ai-interview/sessions"
ANSWER = "I moved the build to a cache. It took two days."


async def _start(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    body = {"title": "Mock", "interview_type": "behavioral", "question_limit": 2} | more
    started: dict[str, Any] = (await client.post(PATH, json=body)).json()
    return started


async def _send(client: httpx.AsyncClient, started: dict[str, Any], text: str) -> dict[str, Any]:
    path = f"{PATH}/{started['session_id']}/message"
    turn: dict[str, Any] = (await client.post(path, json={"message": text})).json()
    return turn


async def test_response_has_words_for_a_silence(client: httpx.AsyncClient) -> None:
    started = await _start(client)
    moment = await _send(client, started, "Give me a moment")
    answered = await _send(client, started, ANSWER)
    last = await _send(client, started, "skip")

    prompt = started["silence_prompt"]
    assert prompt["after_seconds"] == 20
    assert prompt["text"] == load_phrases().manners["neutral"]["silence"]
    assert (prompt["ai_audio_url"] is None) == (started["ai_audio_url"] is None)
    assert moment["silence_prompt"] is None
    assert answered["silence_prompt"] == started["silence_prompt"]
    assert (last["status"], last["silence_prompt"]) == ("completed", None)
    assert [one["turn_number"] for one in (started, moment, answered, last)] == [0, 1, 2, 3]


async def test_choice_of_the_interview_then_of_the_profile_counts(
    client: httpx.AsyncClient,
) -> None:
    refused = await client.post(
        PATH, json={"title": "T", "interview_type": "case", "silence_seconds": 301}
    )
    await client.post("/ai-interview/profile", json={"silence_seconds": 45.4})
    of_profile = await _start(client)
    off = await _start(client, silence_seconds=0)
    own = await _start(client, silence_seconds=7)
    read = (await client.get(f"{PATH}/{own['session_id']}")).json()

    assert refused.status_code == 422
    assert of_profile["silence_prompt"]["after_seconds"] == 45
    assert off["silence_prompt"] is None
    assert own["silence_prompt"]["after_seconds"] == read["silence_seconds"] == 7
    assert len(read["turns"]) == 1


async def test_interruption_is_recorded_once_and_keeps_the_text(
    client: httpx.AsyncClient, clock: FakeClock
) -> None:
    started = await _start(client)
    path = f"{PATH}/{started['session_id']}"
    first = await client.post(f"{path}/interruption")
    clock.advance(seconds=5)
    again = await client.post(f"{path}/interruption", json={"turn_number": 0})
    await _send(client, started, ANSWER)
    repeated = await _send(client, started, "repeat")
    turns = (await client.get(path)).json()["turns"]

    assert first.status_code == 200 and first.json() == again.json()
    assert first.json()["turn_number"] == 0
    assert [one["interrupted_at"] is None for one in turns] == [False, True, True]
    assert turns[0]["response"] == started["response"]
    assert turns[0]["interrupted_at"] == first.json()["interrupted_at"]
    assert repeated["analysis"]["intent"] == "repeat"


async def test_unknown_turn_or_foreign_interview_is_not_found(
    client: httpx.AsyncClient, service: Service[Deps], issuer: TokenIssuer
) -> None:
    started = await _start(client)
    path = f"{PATH}/{started['session_id']}/interruption"
    unknown = await client.post(path, json={"turn_number": 9})
    missing = await client.post(f"{PATH}/{new_id()}/interruption")
    async with client_for(service, headers=issuer.bearer(new_id())) as other:
        foreign = await other.post(path)
        speech = await other.get(f"{PATH}/{started['session_id']}/silence/audio")

    assert (unknown.status_code, unknown.json()["code"]) == (404, "turn_not_found")
    assert {one.json()["code"] for one in (missing, foreign)} == {"interview_not_found"}
    assert speech.status_code == 404
