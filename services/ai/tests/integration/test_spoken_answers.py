"""Recordings in interviews that have the interviewer's own voice, or nothing but noise."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from coach_ai.deps import Deps
from coach_ai.domain import (
    NO_SPEECH,
    NOT_INTELLIGIBLE,
    Feedback,
    Recording,
    Transcript,
    Word,
)
from coach_ai.store import recordings
from coach_common.ids import new_id

PATH = "/ai-interview/sessions"
ANSWER = (
    "Our build broke every night. I was asked to find out why. I read the logs, wrote a test for"
    " the cache and moved the build to another machine."
)


async def _start(client: httpx.AsyncClient) -> dict[str, Any]:
    body = {"title": "Mock", "interview_type": "behavioral", "question_limit": 2}
    started: dict[str, Any] = (await client.post(PATH, json=body)).json()
    return started


async def _record(deps: Deps, user_id: UUID, text: str | None, reason: str = "") -> str:
    """Add a recording with this transcript, or one that failed, and return its key."""
    upload_id = new_id()
    key = f"uploads/{user_id}/1795521600000_{upload_id.hex[-8:]}.m4a"
    async with deps.db.transaction() as tx:
        await recordings.add_recording(tx, Recording(upload_id, user_id, key, None, "e", 1))
        if text is None:
            await recordings.mark_failed(
                tx, upload_id, reason, is_restartable=False, at=deps.clock()
            )
        else:
            words = tuple(
                Word(word, at * 0.4, at * 0.4 + 0.3) for at, word in enumerate(text.split())
            )
            transcript = Transcript(text, "en", len(words) * 0.4, "scripted", "s1", words)
            await recordings.save_transcript(tx, upload_id, transcript, at=deps.clock())
    return key


async def _answer(client: httpx.AsyncClient, session_id: str, key: str) -> dict[str, Any]:
    sent = await client.post(f"{PATH}/{session_id}/message", json={"audio_s3_key": key})
    assert sent.status_code == 200, sent.text
    turn: dict[str, Any] = sent.json()
    return turn


async def test_own_voice_is_set_aside_before_scoring_and_follow_ups(
    client: httpx.AsyncClient, deps: Deps, user_id: UUID, coach: Any
) -> None:
    started = await _start(client)
    path = f"{PATH}/{started['session_id']}"
    story = Feedback(
        60, 60, None, 60, (), "", "p", "m", "4", star={"action": ANSWER, "result": None}
    )
    coach.feedbacks = [story]
    key = await _record(deps, user_id, f"{started['response']} {ANSWER}")

    turn = await _answer(client, started["session_id"], key)
    follow_up = await _record(deps, user_id, f"{turn['response']} It took four minutes.")
    await _answer(client, started["session_id"], follow_up)
    turns = (await client.get(path)).json()["turns"]

    assert turn["analysis"]["gap"]["kind"] == "result_missing"
    assert started["response"][:20] not in turn["response"]
    scored, joined = coach.scored_answers
    assert scored.text == ANSWER and scored.words[0].text == "Our"
    assert scored.set_aside[0][0] == 0.0
    assert joined.text == f"{ANSWER}\n\nIt took four minutes."
    assert [one["message"] for one in turns] == [None, ANSWER, "It took four minutes."]


async def test_new_assessment_scores_the_recording_without_the_own_voice(
    client: httpx.AsyncClient, deps: Deps, user_id: UUID, coach: Any
) -> None:
    started = await _start(client)
    path = f"{PATH}/{started['session_id']}"
    key = await _record(deps, user_id, f"{started['response']} {ANSWER}")
    await _answer(client, started["session_id"], key)
    await client.post(f"{path}/complete")

    await client.post(f"{path}/assess")

    assert coach.scored_answers[0] == coach.scored_answers[1]
    assert coach.scored_answers[1].words


@pytest.mark.parametrize("reason", [None, NO_SPEECH, NOT_INTELLIGIBLE])
async def test_recording_of_noise_or_own_voice_is_asked_again_and_costs_nothing(
    client: httpx.AsyncClient, deps: Deps, user_id: UUID, coach: Any, reason: str | None
) -> None:
    started = await _start(client)
    path = f"{PATH}/{started['session_id']}"
    text = started["response"] if reason is None else None
    key = await _record(deps, user_id, text, reason or "")

    no_answer = await _answer(client, started["session_id"], key)
    repeated = await _answer(client, started["session_id"], key)
    answered = await _answer(client, started["session_id"], await _record(deps, user_id, ANSWER))
    read = (await client.get(path)).json()

    assert (no_answer["analysis"]["intent"], no_answer["question_count"]) == ("no_answer", 1)
    assert no_answer["response"].startswith("I could not hear an answer.")
    question = (await client.post(f"{path}/complete")).json()["plan"]["questions"][0]["question"]
    assert question in no_answer["response"]
    assert repeated == no_answer
    assert answered["analysis"]["question_number"] == 1
    assert [one.text for one in coach.scored_answers] == [ANSWER]
    assert read["turns"][1]["message"] is None


async def test_text_replaces_a_recording_of_the_own_voice(
    client: httpx.AsyncClient, deps: Deps, user_id: UUID, coach: Any
) -> None:
    started = await _start(client)
    key = await _record(deps, user_id, started["response"])
    body = {"audio_s3_key": key, "message": ANSWER}

    sent = await client.post(f"{PATH}/{started['session_id']}/message", json=body)

    assert sent.json()["analysis"]["intent"] == "answer"
    assert [one.text for one in coach.scored_answers] == [ANSWER]
