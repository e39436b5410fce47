"""The interviewer's turns as speech: cache, privacy, owners, and a server without a voice."""

import io
import wave
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import ValidationError

from coach_ai.app import build
from coach_ai.config import AiSettings
from coach_ai.deps import Deps
from coach_ai.interview.model import Gap, GapKind, Intent, Turn
from coach_ai.store import interviews
from coach_ai.token_usage import TokenUsage
from coach_ai.voice.espeak_voice import EspeakVoice, find_espeak
from coach_ai.voice.piper_voice import PiperVoice
from coach_ai.voice.shared_sentences import split_sentences
from coach_ai.voice.speech import Speech, VoiceName
from coach_common.errors import Unavailable
from coach_common.http.dependencies import get_app_state, set_app_state
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, FakeTransport, TokenIssuer
from coach_common.testing.harness import client_for, migrated_service

PATH = "/ai-interview/sessions"
QUOTE = "My aunt Wilhelmina runs the depot in Bremen."
QUESTION = "Can you put a figure on that?"


@dataclass
class ScriptedVoice:
    """Speaks ten samples per character, or raises the scripted failures."""

    spoken: list[tuple[str, VoiceName, float]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    max_tokens: int = 0
    model: str = "scripted 1"
    fails_after: int | None = None
    """Sentences before every further one is Unavailable."""

    async def get_model(self) -> str:
        return self.model

    def max_tokens_needed(self, text: str) -> int:
        return self.max_tokens

    async def speak(self, text: str, voice: VoiceName, speed: float, usage: TokenUsage) -> Speech:
        if self.failures:
            raise self.failures.pop(0)
        if self.fails_after is not None and len(self.spoken) >= self.fails_after:
            raise Unavailable("The voice is unavailable.")
        self.spoken.append((text, voice, speed))
        return Speech(b"\x01\x02" * 10 * len(text), 22_050)

    async def warm_up(self) -> None:
        return None

    async def check(self) -> None:
        return None

    async def close(self) -> None:
        return None


@pytest.fixture
def voice() -> ScriptedVoice:
    return ScriptedVoice()


@pytest.fixture
async def service(
    settings: AiSettings,
    transport: FakeTransport,
    clock: FakeClock,
    issuer: TokenIssuer,
    transcriber: Any,
    coach: Any,
    objects: Any,
    voice: ScriptedVoice,
) -> AsyncIterator[Service]:
    built = build(
        settings,
        transport,
        clock=clock,
        tokens=issuer.verifier,
        objects=objects,
        transcriber=transcriber,
        scorer=coach,
        chat=coach,
        voice=voice,
    )
    async with migrated_service(built):
        yield built


async def _start(client: httpx.AsyncClient) -> dict[str, Any]:
    body = {"title": "Mock", "interview_type": "behavioral", "question_limit": 2}
    return (await client.post(PATH, json=body)).json()  # type: ignore[no-any-return]


async def _add_follow_up(deps: Deps, started: dict[str, Any], user_id: UUID) -> None:
    """Store a turn whose response quotes the candidate."""
    async with deps.db.transaction() as tx:
        interview = await interviews.get_interview(tx, UUID(started["session_id"]), user_id=user_id)
        turn = Turn(
            number=1,
            question_number=1,
            intent=Intent.ANSWER,
            message=QUOTE,
            response=f"Thank you for that. You said: “{QUOTE}” {QUESTION}",
            created_at=deps.clock(),
            gap=Gap(GapKind.NO_FIGURE, QUOTE),
        )
        await interviews.add_turn(tx, interview, turn)


def _count_samples(data: bytes) -> int:
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 22_050)
        return file.getnframes()


async def test_turn_is_spoken_once_for_each_voice_and_speed(
    client: httpx.AsyncClient, voice: ScriptedVoice
) -> None:
    started = await _start(client)
    url = started["ai_audio_url"]
    first = await client.get(url)
    sentences = split_sentences(started["response"])
    again = await client.get(url)
    spoken_at_first = list(voice.spoken)
    await client.get(url, params={"voice": "low", "speed": 1.5})

    assert url == f"{PATH}/{started['session_id']}/turns/0/audio"
    assert (first.status_code, first.headers["content-type"]) == (200, "audio/wav")
    assert first.headers["cache-control"].startswith("private")
    assert _count_samples(first.content) == sum(10 * len(one) for one in sentences)
    assert again.content == first.content
    assert spoken_at_first == [(one, "medium", 1.0) for one in sentences]
    assert voice.spoken[len(sentences) :] == [(one, "low", 1.5) for one in sentences]


async def test_words_of_the_candidate_are_spoken_and_never_stored(
    client: httpx.AsyncClient, deps: Deps, user_id: UUID, voice: ScriptedVoice, objects: Any
) -> None:
    started = await _start(client)
    await _add_follow_up(deps, started, user_id)
    response = await client.get(f"{PATH}/{started['session_id']}/turns/1/audio")

    assert response.status_code == 200
    assert [text for text, *_ in voice.spoken] == [
        "Thank you for that.", f"You said: “{QUOTE}”", QUESTION,
    ]  # fmt: skip
    lengths = sorted(_count_samples(data) for data in objects.stored.values())
    assert lengths == sorted(10 * len(one) for one in ("Thank you for that.", QUESTION))
    assert all(key.startswith("voice/") for key in objects.stored)


async def test_words_in_a_silence_are_spoken_once_for_all_users(
    client: httpx.AsyncClient, voice: ScriptedVoice
) -> None:
    prompt = (await _start(client))["silence_prompt"]
    first = await client.get(prompt["ai_audio_url"])
    again = await client.get((await _start(client))["silence_prompt"]["ai_audio_url"])

    assert (first.status_code, first.headers["content-type"]) == (200, "audio/wav")
    assert first.content == again.content
    assert [text for text, *_ in voice.spoken] == [prompt["text"]]


async def test_failing_store_delays_no_speech(
    client: httpx.AsyncClient, voice: ScriptedVoice, objects: Any
) -> None:
    started = await _start(client)
    sentences = split_sentences(started["response"])
    objects.failures = [Unavailable("down")] * 2 * len(sentences)

    assert (await client.get(started["ai_audio_url"])).status_code == 200
    assert objects.stored == {}


async def test_failed_voice_and_spent_budget_are_errors(
    client: httpx.AsyncClient, deps: Deps, voice: ScriptedVoice
) -> None:
    url = (await _start(client))["ai_audio_url"]
    voice.failures = [Unavailable("The voice is unavailable.", retry_after_seconds=3)]
    failed = await client.get(url)
    voice.max_tokens = deps.daily_tokens + 1
    spent = await client.get(url)

    assert (failed.status_code, failed.headers["retry-after"]) == (503, "3")
    assert (spent.status_code, spent.json()["code"]) == (429, "budget_spent")


async def test_fallback_speaks_the_whole_turn_if_the_voice_fails(
    client: httpx.AsyncClient, service: Service[Deps], voice: ScriptedVoice
) -> None:
    fallback = ScriptedVoice(model="scripted 2")
    state = get_app_state(service.app)
    set_app_state(service.app, replace(state, deps=replace(service.deps, fallback_voice=fallback)))
    started = await _start(client)
    sentences = split_sentences(started["response"])
    voice.fails_after = 2
    response = await client.get(started["ai_audio_url"])

    assert response.status_code == 200
    assert _count_samples(response.content) == sum(10 * len(one) for one in sentences)
    assert [text for text, *_ in voice.spoken] == sentences[:2]
    assert [text for text, *_ in fallback.spoken] == sentences


async def test_unknown_turns_voices_and_speeds_are_refused(
    client: httpx.AsyncClient, service: Service, issuer: TokenIssuer
) -> None:
    url = (await _start(client))["ai_audio_url"]
    missing = await client.get(url.replace("/0/", "/7/"))
    invalid = [
        await client.get(url, params=params)
        for params in ({"voice": "robot"}, {"speed": 3}, {"speed": "nan"}, {"speed": 0})
    ]
    async with client_for(service, headers=issuer.bearer(new_id())) as stranger:
        foreign = await stranger.get(url)

    assert (missing.status_code, missing.json()["code"]) == (404, "turn_not_found")
    assert [one.status_code for one in invalid] == [422] * 4
    assert (foreign.status_code, foreign.json()["code"]) == (404, "interview_not_found")


async def test_server_without_a_voice_offers_no_speech(
    settings: AiSettings,
    transport: FakeTransport,
    clock: FakeClock,
    issuer: TokenIssuer,
    coach: Any,
    objects: Any,
    user_id: UUID,
) -> None:
    silent = build(
        settings.model_copy(update={"voice_provider": "none"}),
        transport,
        clock=clock,
        tokens=issuer.verifier,
        objects=objects,
        scorer=coach,
        chat=coach,
    )
    async with (
        migrated_service(silent),
        client_for(silent, headers=issuer.bearer(user_id)) as client,
    ):
        started = await _start(client)
        response = await client.get(f"{PATH}/{started['session_id']}/turns/0/audio")

    assert started["ai_audio_url"] is None
    assert (response.status_code, response.json()["code"]) == (404, "voice_not_installed")


async def test_missing_piper_leaves_the_local_voice_and_a_failing_one_falls_back_to_it(
    settings: AiSettings,
    transport: FakeTransport,
    clock: FakeClock,
    issuer: TokenIssuer,
    coach: Any,
    objects: Any,
    user_id: UUID,
    tmp_path: Path,
) -> None:
    if find_espeak() is None:
        pytest.skip("espeak-ng is not installed: make voice")
    voice = tmp_path / "voice.onnx"
    chosen = settings.model_copy(
        update={"voice_provider": "piper", "piper_program": "false", "piper_voice": voice}
    )

    def build_service() -> Service[Deps]:
        return build(
            chosen, transport, clock=clock, tokens=issuer.verifier, objects=objects,
            scorer=coach, chat=coach,
        )  # fmt: skip

    missing = build_service().deps
    voice.write_bytes(b"")
    Path(f"{voice}.json").write_text("{}")
    failing = build_service()
    async with (
        migrated_service(failing),
        client_for(failing, headers=issuer.bearer(user_id)) as client,
    ):
        started = await _start(client)
        speech = await client.get(started["ai_audio_url"])
        metrics = (await client.get("/metrics")).text

    assert isinstance(missing.voice, EspeakVoice) and missing.fallback_voice is None
    assert isinstance(failing.deps.voice, PiperVoice)
    assert (speech.status_code, speech.content[:4]) == (200, b"RIFF")
    assert "coach_ai_piper_available 0.0" in metrics


def test_piper_without_a_voice_is_a_wrong_setting(settings: AiSettings) -> None:
    with pytest.raises(ValidationError, match="PIPER_VOICE"):
        AiSettings.model_validate(settings.model_dump() | {"voice_provider": "piper"})
