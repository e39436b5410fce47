"""Refused requests are sent in a plainer form, which is remembered for the server and model."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import Response
from fastapi.responses import JSONResponse
from prometheus_client import REGISTRY

from coach_ai.domain import Answer, CannotScore, CannotTranscribe, ChatContext, Message
from coach_ai.openai.chat import OpenAIChat
from coach_ai.openai.scorer import OpenAIScorer
from coach_ai.openai.transcriber import OpenAITranscriber
from coach_ai.token_usage import TokenUsage
from coach_common.errors import Unavailable
from support.decoded_transcriber import DecodedTranscriber
from support.openai_server import (
    OVERALL_SCORE,
    OpenAIServer,
    error_response,
    scoring_completion,
    streamed_completion,
)
from support.sounds import speech, write_recording

TEXT = "Last year I fixed a broken build. I measured every step. It took two days."
ANSWER = Answer("T", "Tell me about a hard problem.", TEXT, "en")
HELLO = ChatContext((Message("user", "Hi"),))

Request = dict[str, Any]


def refuse(
    is_refused: Callable[[Request], bool], response: Response, accepted: Any = None
) -> Callable[[Request], Any]:
    """Return an answer that refuses some requests and accepts the others."""
    return lambda request: response if is_refused(request) else accepted or scoring_completion()


def _format(request: Request) -> str | None:
    return (request.get("response_format") or {}).get("type")


def _has_system_role(request: Request) -> bool:
    return any(message["role"] == "system" for message in request["messages"])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return tmp_path / "recording"


@pytest.mark.parametrize(
    ("is_refused", "response", "plain"),
    [
        (
            lambda request: _format(request) == "json_schema",
            error_response(400, "Invalid parameter: 'response_format' of type 'json_schema'"),
            lambda request: _format(request) == "json_object",
        ),
        (
            lambda request: _format(request) is not None,
            error_response(400, "This model does not support structured output"),
            lambda request: _format(request) is None,
        ),
        (
            lambda request: "max_tokens" in request,
            error_response(
                400,
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                "'max_completion_tokens' instead.",
                code="unsupported_parameter",
                param="max_tokens",
            ),
            lambda request: request["max_completion_tokens"] > 0,
        ),
        (
            lambda request: "max_tokens" in request or "max_completion_tokens" in request,
            JSONResponse(
                {"detail": [{"loc": ["body", "max_tokens"], "msg": "Extra inputs", "type": "x"}]},
                422,
            ),
            lambda request: "max_tokens" not in request,
        ),
        (
            lambda request: "temperature" in request,
            JSONResponse({"error": "gpt-5 models don't support temperature=0.0"}, 400),
            lambda request: _format(request) == "json_schema",
        ),
        (
            _has_system_role,
            error_response(400, "Conversation roles must alternate user/assistant/user/..."),
            lambda request: [message["role"] for message in request["messages"]] == ["user"],
        ),
        (
            lambda request: _format(request) == "json_schema",
            error_response(500, "response_format json_schema is not implemented"),
            lambda request: _format(request) == "json_object",
        ),
        (
            lambda request: _format(request) == "json_schema",
            Response("Bad Request", 400, media_type="text/plain"),
            lambda request: _format(request) == "json_object",
        ),
    ],
    ids=[
        "json schema", "any format", "max tokens", "any token limit", "temperature without param",
        "system role", "status 500", "no reason",
    ],
)  # fmt: skip
async def test_refused_feature_is_left_out_and_the_form_remembered(
    server: OpenAIServer,
    is_refused: Callable[[Request], bool],
    response: Response,
    plain: Callable[[Request], bool],
) -> None:
    server.answers = [refuse(is_refused, response)]
    first = OpenAIScorer("key", server.url, "model")
    assert (await first.score(ANSWER, TokenUsage())).overall_score == OVERALL_SCORE
    await first.check()
    await first.close()
    asked = len(server.requests)

    second = OpenAIScorer("key", server.url, "model")
    assert (await second.score(ANSWER, TokenUsage())).overall_score == OVERALL_SCORE
    await second.close()

    assert len(server.requests) == asked + 1
    assert plain(server.requests[-1])
    assert TEXT in json.dumps(server.requests[-1])


async def test_form_is_remembered_per_model(server: OpenAIServer) -> None:
    server.answers = [
        refuse(
            lambda request: request["model"] == "a" and "temperature" in request,
            error_response(400, "temperature"),
        )
    ]
    for model in "ab":
        scorer = OpenAIScorer("key", server.url, model)
        await scorer.score(ANSWER, TokenUsage())
        await scorer.close()

    assert server.requests[-1]["temperature"] == 0


async def test_schema_is_in_the_prompt_if_the_server_does_not_enforce_it(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    server.answers = [
        refuse(lambda request: _format(request) is not None, error_response(400, "json_schema"))
    ]

    await scorer.score(ANSWER, TokenUsage())

    rich, *_, plain = server.requests
    schema = rich["response_format"]["json_schema"]["schema"]
    assert json.dumps(schema) in plain["messages"][0]["content"]


async def test_accepted_plainer_form_is_counted(server: OpenAIServer) -> None:
    labels = {"operation": "chat", "form": "json_object,max_tokens"}
    name = "coach_ai_provider_plainer_forms_total"
    before = REGISTRY.get_sample_value(name, labels) or 0.0
    server.answers = [
        refuse(lambda request: _format(request) == "json_schema", error_response(400, "schema"))
    ]
    scorer = OpenAIScorer("key", server.url, "model")

    for _ in range(2):
        await scorer.score(ANSWER, TokenUsage())
    await scorer.close()

    assert REGISTRY.get_sample_value(name, labels) == before + 1


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        (error_response(400), "does not accept our settings"),
        (error_response(422), "does not accept our settings"),
        (error_response(400, "x", code="context_length_exceeded"), "too long"),
        (error_response(400, "The request exceeds the available context size"), "too long"),
        (error_response(404, 'model "m" not found, try pulling it first'), "configured model"),
        (error_response(400, "The model `m` does not exist", code="model_not_found"), "configured"),
        (error_response(401), "credentials"),
        (error_response(403), "credentials"),
        (error_response(402), "quota"),
        (error_response(429, code="insufficient_quota", retry_after="300"), "quota"),
        (error_response(429, retry_after="300"), "busy"),
        (error_response(500), "busy"),
        (JSONResponse({"error": {"message": "overloaded", "code": 502}}), "busy"),
        (JSONResponse({"error": {"message": "overloaded"}, "choices": None}), "busy"),
        (JSONResponse({"error": "no such thing"}), "busy"),
    ],
)
async def test_refusal_for_other_reasons_waits_and_is_named(
    server: OpenAIServer, scorer: OpenAIScorer, response: Response, sentence: str
) -> None:
    server.answers = [response]

    with pytest.raises(Unavailable, match=sentence):
        await scorer.score(ANSWER, TokenUsage())
    with pytest.raises(Unavailable, match=sentence):
        await scorer.check()


async def test_corrected_setting_scores_the_answer(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    server.answers = [error_response(400)]
    with pytest.raises(Unavailable):
        await scorer.score(ANSWER, TokenUsage())

    server.answers = [scoring_completion()]

    assert (await scorer.score(ANSWER, TokenUsage())).overall_score == OVERALL_SCORE
    assert server.requests[-1]["response_format"]["type"] == "json_schema"
    await scorer.check()


@pytest.mark.parametrize(
    "response",
    [
        error_response(400, code="content_policy_violation"),
        error_response(403, "Your chosen model requires moderation and your input was flagged"),
        JSONResponse(
            {
                "error": {
                    "message": "The response was filtered due to the prompt triggering Azure "
                    "OpenAI's content management policy.",
                    "code": "content_filter",
                    "param": "prompt",
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            },
            400,
        ),
    ],
)
async def test_content_filter_is_final(
    server: OpenAIServer, scorer: OpenAIScorer, response: Response
) -> None:
    server.answers = [response]

    with pytest.raises(CannotScore):
        await scorer.score(ANSWER, TokenUsage())

    await scorer.check()
    assert len(server.requests) == 1


async def test_echoed_words_of_the_user_are_no_reason(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    echo = "temperature content_filter flagged by the usage policy"
    server.answers = [
        JSONResponse(
            {
                "error": {
                    "message": "[{'type': 'extra_forbidden', 'input': '" + echo + "'}]",
                    "input": echo,
                    "body": {"code": "content_filter"},
                }
            },
            400,
        )
    ]

    with pytest.raises(Unavailable, match="settings"):
        await scorer.score(ANSWER, TokenUsage())


async def test_token_limit_is_left_out_of_a_request_that_fills_the_context(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    message = "'max_tokens' is too large: 4000. This model's maximum context length is 4096 tokens"
    server.answers = [refuse(lambda request: "max_tokens" in request, error_response(400, message))]

    assert (await scorer.score(ANSWER, TokenUsage())).overall_score == OVERALL_SCORE
    assert len(server.requests) == 2
    assert (await scorer.score(ANSWER, TokenUsage())).overall_score == OVERALL_SCORE
    assert "max_tokens" in server.requests[2]


async def test_stream_options_are_left_out_of_a_chat(
    server: OpenAIServer, chat: OpenAIChat
) -> None:
    server.answers = [
        lambda request: (
            error_response(400, "stream_options is not supported")
            if "stream_options" in request
            else streamed_completion("Breathe.")
        )
    ]

    for _ in range(2):
        reply = [piece async for piece in chat.reply(HELLO, TokenUsage())]
        assert "".join(reply) == "Breathe."

    assert ["stream_options" in request for request in server.requests] == [True, False, False]


async def test_roles_alternate_for_a_model_without_a_system_role(
    server: OpenAIServer, chat: OpenAIChat
) -> None:
    server.answers = [
        lambda request: (
            error_response(400, "System role not supported")
            if _has_system_role(request)
            else streamed_completion("Breathe.")
        )
    ]
    messages = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))

    assert [piece async for piece in chat.reply(ChatContext(messages), TokenUsage())]

    roles = [message["role"] for message in server.requests[-1]["messages"]]
    assert roles == ["user", "assistant", "user"]


# --- transcription


@pytest.fixture
async def whisper(server: OpenAIServer) -> AsyncIterator[OpenAITranscriber]:
    transcriber = DecodedTranscriber("key", server.url, "openai/whisper-small", None)
    yield transcriber
    await transcriber.close()


@pytest.mark.parametrize(
    "response",
    [
        error_response(400, "`timestamp_granularities[]` not supported by this model"),
        error_response(400, "Currently only support response_format `text` or `json`"),
        error_response(400, "Currently do not support verbose_json for model"),
        error_response(400),
    ],
)
async def test_word_times_are_left_out_if_the_server_refuses_them(
    server: OpenAIServer, whisper: OpenAITranscriber, recording: Path, response: Response
) -> None:
    server.answers = [
        refuse(
            lambda request: request["response_format"] == "verbose_json",
            response,
            {"text": "Hello there."},
        )
    ]

    for _ in range(2):
        assert (await whisper.transcribe(recording)).text == "Hello there."

    formats = [request["response_format"] for request in server.requests]
    assert formats == ["verbose_json", "json", "json"]


async def test_prompt_is_left_out_if_the_model_refuses_it(
    server: OpenAIServer, whisper: OpenAITranscriber, recording: Path
) -> None:
    server.answers = [
        refuse(
            lambda request: "prompt" in request,
            error_response(400, "Prompt is not supported for this model"),
            {"text": "Hello there."},
        )
    ]

    transcript = await whisper.transcribe(recording, prompt="Kubernetes")

    assert transcript.text == "Hello there."
    assert server.requests[-1]["response_format"] == "verbose_json"


async def test_audio_is_sent_as_wav_if_the_server_cannot_read_opus(
    server: OpenAIServer, tmp_path: Path
) -> None:
    recording = write_recording(tmp_path / "a.m4a", speech()[: 3 * 16000], "ipod", "aac")
    whisper = OpenAITranscriber("key", server.url, "openai/whisper-small", None)
    server.answers = [
        lambda request: (
            {"text": "Hello there."}
            if server.uploads[-1].startswith(b"RIFF")
            else error_response(400, "Invalid file format. Supported formats: ['wav', 'mp3']")
        )
    ]

    for _ in range(2):
        assert (await whisper.transcribe(recording)).text == "Hello there."
    await whisper.close()

    assert [upload[:4] for upload in server.uploads] == [b"OggS", b"RIFF", b"RIFF"]
    assert abs(len(server.uploads[-1]) / 32_000 - 3.0) < 0.2


async def test_chunks_are_shortened_if_the_server_takes_less(
    server: OpenAIServer, tmp_path: Path
) -> None:
    transcriber = DecodedTranscriber("key", server.url, "m", None, max_chunk_seconds=64)
    server.answers = [
        lambda request: (
            error_response(400, "audio duration 40 seconds is longer than 35 seconds")
            if len(server.uploads) == 1
            else {"text": "part"}
        )
    ]

    transcript = await transcriber.transcribe(tmp_path / "recording")
    await transcriber.close()

    assert transcript.text == "part part"
    assert len(server.uploads) == 3


@pytest.mark.parametrize(
    "response",
    [
        error_response(400, "Audio file might be corrupted or unsupported", param="file"),
        error_response(400, "x", code="content_filter"),
    ],
)
async def test_unreadable_or_filtered_audio_is_final(
    server: OpenAIServer, whisper: OpenAITranscriber, recording: Path, response: Response
) -> None:
    server.answers = [response]

    with pytest.raises(CannotTranscribe):
        await whisper.transcribe(recording)
    await whisper.check()


async def test_audio_that_is_too_short_has_no_speech(
    server: OpenAIServer, whisper: OpenAITranscriber, recording: Path
) -> None:
    server.answers = [error_response(400, "Audio file is too short.", code="audio_too_short")]

    with pytest.raises(CannotTranscribe, match="no speech"):
        await whisper.transcribe(recording)


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        (error_response(400), "settings"),
        (error_response(404, "The model `m` does not exist"), "model"),
        (error_response(500, "audio input is not supported"), "settings"),
        (Response('{"text": "Hel', media_type="application/json"), "invalid response"),
        (JSONResponse({"error": {"message": "overloaded"}}), "busy"),
        (JSONResponse({"text": None}), "invalid response"),
        (JSONResponse(["text"]), "invalid response"),
    ],
)
async def test_transcription_waits_for_every_other_reason(
    server: OpenAIServer,
    whisper: OpenAITranscriber,
    recording: Path,
    response: Response,
    sentence: str,
) -> None:
    server.answers = [response]

    with pytest.raises(Unavailable, match=sentence):
        await whisper.transcribe(recording)
    with pytest.raises(Unavailable, match=sentence):
        await whisper.check()
