"""Requests as real clients send them: React Native, Java's HttpClient, browsers, bad networks.

Each request comes from a bug report about a client library.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from coach_ai.speech.audio import SAMPLE_RATE, decode
from coach_common.testing.harness import http_client, wait_until
from coach_embedded.api_client import ApiClient
from coach_embedded.demo import QUESTION, word_error_rate

pytestmark = pytest.mark.asyncio(loop_scope="session")

ANSWER = Path(str(files("coach_embedded") / "recordings" / "answer.m4a"))
WORDS = (files("coach_embedded") / "recordings" / "answer.txt").read_text()
SPOKEN = (
    "When our nightly import failed I read the logs, found a deadlock between two jobs, moved one"
    " of them by an hour and added an alarm. The import has not failed since, for five months now."
)


# --- the socket's handshake


@pytest.mark.parametrize(
    "origin", ["http://{host}", "https://{host}", "ws://{host}", "file://", "capacitor://localhost"]
)
async def test_native_client_connects_with_the_origin_that_it_sends(
    client: ApiClient, origin: str
) -> None:
    host = urlsplit(client.base_url).netloc
    url = f"ws://{host}/v1/ws/transcribe"
    async with connect(url, origin=origin.format(host=host), proxy=None) as socket:  # type: ignore[arg-type]
        await socket.send(json.dumps({"type": "auth", "token": client.token}))
        assert json.loads(await socket.recv())["type"] == "auth_success"


async def test_page_of_another_site_connects_only_with_a_bearer_token(client: ApiClient) -> None:
    url = client.base_url.replace("http", "ws", 1) + "/v1/ws/transcribe"
    origin: Any = "https://evil.example"
    with pytest.raises(InvalidStatus):
        await connect(url, origin=origin, proxy=None)
    headers = {"Authorization": f"Bearer {client.token}"}
    async with connect(url, origin=origin, additional_headers=headers, proxy=None) as socket:
        assert json.loads(await socket.recv())["type"] == "auth_success"


# --- upgrades that are not taken


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("upgrade", ["h2c", "TLS/1.0"])
async def test_body_of_a_request_that_offers_an_upgrade_is_read(
    client: ApiClient, framing: str, upgrade: str
) -> None:
    body = b'{"title": "An upgrade"}'
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    length = b"Transfer-Encoding: chunked" if framing == "chunked" else b"Content-Length: 23"
    async with _raw_connection(client) as (reader, writer):
        writer.write(
            b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nContent-Type: application/json\r\n"
            + b"Upgrade: %b\r\nAuthorization: Bearer %b\r\n%b\r\n\r\n"
            % (upgrade.encode(), client.token.encode(), length)
            + (framed if framing == "chunked" else body)
        )
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201 ")


# --- sessions


@pytest.mark.parametrize(
    "text",
    [
        "émoji 🎤👩‍💻",
        "\u202eright to left\u202c עברית",
        "a NUL \x00 inside",
    ],
)
async def test_unusual_text_is_stored_and_returned_unchanged(client: ApiClient, text: str) -> None:
    session = await client.call("POST", "/v1/sessions", expect=201, title="Text", question=text)
    stored = await client.call("GET", f"/v1/sessions/{session['id']}")
    assert stored["question"] == session["question"] == text


async def test_five_completions_at_once_have_one_outcome(client: ApiClient) -> None:
    session_id = await client.open_session("Double tap", "Why?")
    completions = [client.complete(session_id, transcript=SPOKEN) for _ in range(5)]
    sessions = await asyncio.gather(*completions)
    assert len({session["completed_at"] for session in sessions}) == 1
    assert {session["transcript"] for session in sessions} == {SPOKEN}


async def test_durations_with_fractions_are_rounded(client: ApiClient) -> None:
    session_id = await client.open_session("A fraction", "Why?")
    session = await client.complete(session_id, transcript=SPOKEN, duration_seconds=63.7)
    assert session["duration_seconds"] == 64


# --- uploads


@pytest.mark.parametrize(
    ("content_type", "extension"),
    [
        ("audio/mpeg", "m4a"), ("video/mp4", "m4a"), ("audio/aac", "m4a"), ("audio/mp4", "aac"),
        ("audio/webm", "weba"), ("audio/wave", "wav"), ("audio/vnd.wave", "wav"),
        ("audio/x-flac", "flac"), ("audio/mp4a-latm", "m4a"), ("audio/aacp", "aac"),
        ("audio/opus", "opus"), ("audio/3gpp", "3gp"), ("audio/amr", "amr"),
        ("audio/x-caf", "caf"), ("audio/mp4", "M4A"),
    ],
)  # fmt: skip
async def test_every_name_of_a_known_container_can_be_presigned(
    client: ApiClient, content_type: str, extension: str
) -> None:
    await client.call(
        "POST", "/v1/upload/s3-presign", content_type=content_type, extension=extension, size=1000
    )


@pytest.mark.parametrize("uploaded_at", [0, -1, 1795651464451.09, 1e18])
async def test_wrong_clock_of_a_phone_does_not_matter(
    client: ApiClient, uploaded_at: float
) -> None:
    key = await client.upload(ANSWER, "audio/mp4")
    await client.call("POST", "/v1/upload/confirm", key=key, uploaded_at=uploaded_at)


async def test_upload_that_is_sent_four_times_is_confirmed_once(client: ApiClient) -> None:
    presigned = await client.call(
        "POST", "/v1/upload/s3-presign",
        content_type="audio/mp4", extension="m4a", size=ANSWER.stat().st_size,
    )  # fmt: skip
    async with http_client(trust_env=False) as store:
        for _ in range(4):
            response = await store.put(
                presigned["url"], content=ANSWER.read_bytes(), headers=presigned["headers"]
            )
            assert response.status_code == 200
    confirmed = [await client.confirm(presigned["key"]) for _ in range(2)]
    assert confirmed[0] == confirmed[1]


async def test_player_can_seek_in_a_recording(client: ApiClient) -> None:
    key = await client.upload(ANSWER, "audio/mp4")
    upload = await client.confirm(key)
    playback = await client.call("GET", f"/v1/upload/{upload['upload_id']}/url")
    async with http_client(trust_env=False) as store:
        response = await store.get(playback["url"], headers={"range": "bytes=100-199"})
    assert response.status_code == 206
    assert response.content == ANSWER.read_bytes()[100:200]


# --- connections and logins


async def test_five_refreshes_at_once_return_one_successor(client: ApiClient) -> None:
    refreshed = await asyncio.gather(
        *(
            client.call("POST", "/v1/auth/refresh", refresh_token=client.refresh_token)
            for _ in range(5)
        )
    )
    assert len({tokens["refresh_token"] for tokens in refreshed}) == 1


@pytest.mark.slow
async def test_client_continues_after_a_pause(client: ApiClient) -> None:
    """A connection answers after 30 s of silence, and a refresh whose answer was lost for 15 s."""

    async def use_connection_again() -> None:
        request = b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n"
        async with _raw_connection(client) as (reader, writer):
            for pause_seconds in (0, 30):
                await asyncio.sleep(pause_seconds)
                writer.write(request % client.token.encode())
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 ")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)

    async def refresh_again() -> None:
        lost = await client.call("POST", "/v1/auth/refresh", refresh_token=client.refresh_token)
        await asyncio.sleep(15)
        again = await client.call("POST", "/v1/auth/refresh", refresh_token=client.refresh_token)
        assert again["refresh_token"] == lost["refresh_token"]

    await asyncio.gather(use_connection_again(), refresh_again())


# --- speech


@pytest.mark.speech
@pytest.mark.parametrize("placeholder", ["  ", "...", "[BLANK_AUDIO]", "null", "undefined"])
async def test_placeholder_of_a_recogniser_is_not_scored(
    client: ApiClient, placeholder: str
) -> None:
    session_id = await client.open_session("Placeholder", QUESTION)
    await client.complete(session_id, transcript=placeholder)
    key = await client.upload(ANSWER, "audio/mp4", session_id=session_id)
    await client.confirm(key, session_id=session_id)
    feedback = await _wait_for_feedback(client, session_id)
    assert feedback["status"] == "ready"
    assert feedback["overall_score"] is not None
    assert word_error_rate(WORDS, feedback["transcript"]) <= 0.1


@pytest.mark.speech
@pytest.mark.parametrize(
    ("samples_per_frame", "sample_rate"), [(160, 16_000), (128, 16_000), (128, 48_000)]
)
async def test_live_audio_in_small_frames_is_no_flood(
    client: ApiClient, samples_per_frame: int, sample_rate: int
) -> None:
    """10 ms frames, and the blocks of 128 samples of a browser's AudioWorklet, in real time."""
    samples = np.repeat(decode(ANSWER)[: SAMPLE_RATE * 8], sample_rate // SAMPLE_RATE)
    content = (samples * 32767).astype("<i2").tobytes()
    frame_bytes = samples_per_frame * 2
    async with client.socket() as socket:
        await socket.send("session_start", question=QUESTION)
        await socket.send("audio_start", format="pcm16", sample_rate=sample_rate)
        await socket.wait_for("audio_started", seconds=120)
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        for number, start in enumerate(range(0, len(content), frame_bytes)):
            await socket.send_audio(content[start : start + frame_bytes])
            due_at = started_at + number * samples_per_frame / sample_rate
            await asyncio.sleep(max(0.0, due_at - loop.time()))
        await socket.send("audio_end")
        transcript = await socket.wait_for("transcript", seconds=120)
        assert socket.frames("error") == []
    assert "payments team" in transcript.frame["text"]


# --- helpers


@asynccontextmanager
async def _raw_connection(
    client: ApiClient,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    parts = urlsplit(client.base_url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _wait_for_feedback(client: ApiClient, session_id: str) -> dict[str, Any]:
    async def find_final_feedback() -> dict[str, Any] | None:
        feedback = await client.feedback(session_id)
        return feedback if feedback["status"] in ("ready", "failed") else None

    return await wait_until(
        find_final_feedback, description="the feedback", timeout_seconds=300, interval_seconds=0.2
    )
