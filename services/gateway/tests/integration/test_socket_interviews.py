"""Interviews over the socket: turns, thinking, words in a silence, and interruptions."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from websockets.asyncio.client import ClientConnection, connect

from coach_common.testing.fakes import TokenIssuer

INTERVIEW = "00000000-0000-7000-8000-000000000000"
TURN = {
    "session_id": INTERVIEW,
    "message": "The interview has started.",
    "response": "Good day. I work by rules! You said: “It fell.” Why? Tell me 1.5 things",
    "status": "in_progress",
    "question_count": 1,
    "turn_number": 3,
    "ai_audio_url": "/x",
    "silence_prompt": None,
}
PROMPT = {
    "after_seconds": 1,
    "text": "Take your time, I am listening to you.",
    "ai_audio_url": "/y",
}


async def _next(socket: ClientConnection, seconds: float = 60) -> dict[str, Any]:
    async with asyncio.timeout(seconds):
        frame: dict[str, Any] = json.loads(await socket.recv())
        return frame


async def _read_until(socket: ClientConnection, frame_type: str) -> list[dict[str, Any]]:
    """Return the frames up to the first of this type, which is the last one."""
    frames = [await _next(socket)]
    while frames[-1]["type"] != frame_type:
        frames.append(await _next(socket))
    return frames


async def _send(socket: ClientConnection, **frame: Any) -> None:
    await socket.send(json.dumps(frame))


def _open(gateway: Any, issuer: TokenIssuer, user_id: UUID) -> Any:
    headers = {"authorization": f"Bearer {issuer.issue(user_id)}"}
    return connect(gateway.socket_url, additional_headers=headers, proxy=None)


async def _start(gateway: Any, socket: ClientConnection, **more: Any) -> None:
    """Start an interview. Its turns are `TURN` with the fields of `more` that a turn has."""
    pace = {"words_per_minute": more.pop("words_per_minute")} if "words_per_minute" in more else {}
    gateway.upstreams.error_response = (200, TURN | more)
    assert (await _next(socket))["type"] == "auth_success"
    await _send(socket, type="interview_start", title="Mock", interview_type="case", **pace)


async def test_interview_runs_over_the_socket(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    fields = {"title": "Mock", "interview_type": "case", "persona": {"manner": "friendly"}}
    gap = {"kind": "no_figure", "quote": "It fell."}
    analysis = {"intent": "answer", "question_number": 1, "gap": gap, "method": "rules"}
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        gateway.upstreams.error_response = (201, TURN)
        await _send(socket, type="interview_start", silence_seconds=7.0, **fields)
        thinking, *pieces, opening = await _read_until(socket, "interview_turn")
        gateway.upstreams.error_response = (
            200,
            TURN | {"response": "Thank you.", "status": "completed", "analysis": analysis},
        )
        await _send(socket, type="interview_message", message="m" * 20_000, idempotency_key="k1")
        _, delta, turn = await _read_until(socket, "interview_turn")
        pending = {"detail": "Still being transcribed.", "code": "transcript_pending"}
        gateway.upstreams.error_response = (409, pending)
        await _send(socket, type="interview_message", session_id=INTERVIEW, audio_s3_key="k")
        error = (await _read_until(socket, "error"))[-1]

    started, answered, spoken = gateway.upstreams.requests
    expected = TURN | {"type": "interview_turn", "analysis": None, "was_interrupted": False}
    assert thinking == {"type": "interview_thinking", "session_id": None}
    assert opening == {key: value for key, value in expected.items() if key != "message"}
    assert "".join(piece["text"] for piece in pieces) == TURN["response"]
    assert len(pieces) == 5 and {piece["session_id"] for piece in pieces} == {INTERVIEW}
    assert delta == {"type": "interview_delta", "session_id": INTERVIEW, "text": "Thank you."}
    assert (turn["status"], turn["analysis"]) == ("completed", analysis)
    assert error == {
        "type": "error", "message": pending["detail"], "code": "transcript_pending",
    }  # fmt: skip
    assert (started["upstream"], started["path"]) == ("ai", "/ai-interview/sessions")
    assert json.loads(started["body"]) == fields | {"silence_seconds": 7.0}
    assert answered["path"] == f"/ai-interview/sessions/{INTERVIEW}/message"
    assert json.loads(answered["body"]) == {"message": "m" * 20_000}
    assert answered["headers"]["idempotency-key"] == "k1"
    assert json.loads(spoken["body"]) == {"audio_s3_key": "k"}
    assert "idempotency-key" not in spoken["headers"]


@pytest.mark.parametrize("setting_overrides", [{"chats_per_minute": 1}])
async def test_interview_messages_count_as_chats(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    gateway.upstreams.error_response = (200, TURN | {"response": "Yes."})
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        for _ in range(2):
            await _send(socket, type="interview_message", session_id=INTERVIEW, message="m")
        frames = await _read_until(socket, "error")

    assert [one["type"] for one in frames[1:]] == ["interview_delta", "interview_turn", "error"]
    assert frames[-1]["code"] == "rate_limited"
    assert len(gateway.upstreams.requests) == 1


async def test_thinking_is_sent_before_the_turn_is_ready(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    gateway.upstreams.gate = asyncio.Event()
    gateway.upstreams.error_response = (200, TURN)
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        await _send(socket, type="interview_message", session_id=INTERVIEW, message="m")
        thinking = await _next(socket)
        gateway.upstreams.gate.set()
        rest = await _read_until(socket, "interview_turn")

    assert thinking == {"type": "interview_thinking", "session_id": INTERVIEW}
    assert len(rest) == 6


async def test_one_word_is_sent_in_a_long_silence(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    async with _open(gateway, issuer, user_id) as socket:
        await _start(gateway, socket, ai_audio_url=None, silence_prompt=PROMPT)
        turn = (await _read_until(socket, "interview_turn"))[-1]
        word = await _next(socket)
        await _send(socket, type="interview_message", message="m")
        thinking = await _next(socket)

    assert turn["silence_prompt"] == PROMPT
    assert word == {
        "type": "interview_silence", "session_id": INTERVIEW, "turn_number": 3,
        "text": PROMPT["text"], "ai_audio_url": "/y",
    }  # fmt: skip
    assert thinking["type"] == "interview_thinking"
    assert len(gateway.upstreams.requests) == 2


async def test_beginning_to_answer_stops_the_text_and_is_stored(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    async with _open(gateway, issuer, user_id) as socket:
        await _start(gateway, socket, words_per_minute=50)
        before = await _read_until(socket, "interview_delta")
        await _send(socket, type="interview_reply_start")
        turn, listening = await _next(socket), await _next(socket)
        await _send(socket, type="interview_message", message="m")
        await _read_until(socket, "interview_turn")

    _, interrupted, answered = gateway.upstreams.requests
    assert [one["type"] for one in before] == ["interview_thinking", "interview_delta"]
    assert (turn["type"], turn["was_interrupted"]) == ("interview_turn", True)
    assert turn["response"] == TURN["response"]
    assert listening == {
        "type": "interview_listening", "session_id": INTERVIEW, "was_interrupted": True,
    }  # fmt: skip
    assert interrupted["path"] == f"/ai-interview/sessions/{INTERVIEW}/interruption"
    assert json.loads(interrupted["body"]) == {"turn_number": 3}
    assert answered["path"].endswith("/message")


async def test_answer_during_the_text_stores_the_interruption_first(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    async with _open(gateway, issuer, user_id) as socket:
        await _start(gateway, socket, words_per_minute=50)
        await _read_until(socket, "interview_delta")
        await _send(socket, type="interview_message", message="m")
        turn = (await _read_until(socket, "interview_turn"))[-1]
        answered = await _read_until(socket, "interview_turn")

    assert turn["was_interrupted"]
    assert answered[0]["type"] == "interview_thinking"
    assert not answered[-1]["was_interrupted"]
    paths = [one["path"].rpartition("/")[2] for one in gateway.upstreams.requests]
    assert paths == ["sessions", "interruption", "message"]


@pytest.mark.parametrize("known", [True, False])
async def test_interrupted_playback_is_stored_if_the_client_reports_it(
    gateway: Any, issuer: TokenIssuer, user_id: UUID, known: bool
) -> None:
    async with _open(gateway, issuer, user_id) as socket:
        if known:
            await _start(gateway, socket)
            await _read_until(socket, "interview_turn")
        else:
            await _next(socket)
        named = {} if known else {"session_id": INTERVIEW}
        gateway.upstreams.error_response = (200, {})
        await _send(socket, type="interview_reply_start", interrupts=True, **named)
        interrupted = await _next(socket)
        await _send(socket, type="interview_reply_start", **named)
        started = await _next(socket)

    assert [one["was_interrupted"] for one in (interrupted, started)] == [True, False]
    stored = gateway.upstreams.requests[-1]
    assert stored["path"] == f"/ai-interview/sessions/{INTERVIEW}/interruption"
    assert json.loads(stored["body"]) == ({"turn_number": 3} if known else {})


async def test_answer_start_without_an_interview_is_rejected(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        await _send(socket, type="interview_reply_start")
        error = await _next(socket)
        await _send(socket, type="interview_start", title="T", words_per_minute=5)
        invalid = await _next(socket)

    assert error["code"] == "no_session"
    assert invalid["code"] == "invalid"
