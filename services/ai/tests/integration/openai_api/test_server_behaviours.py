"""Our client against responses of OpenAI and of compatible servers, replayed over real HTTP.

`server_behaviours.yaml` contains the responses, their sources and the expected outcomes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import Response
from fastapi.responses import JSONResponse

from coach_ai.domain import Answer, CannotScore, CannotTranscribe, ChatContext, Message
from coach_ai.openai import request_forms
from coach_ai.openai.chat import OpenAIChat
from coach_ai.openai.scorer import OpenAIScorer
from coach_ai.token_usage import TokenUsage, UnlimitedBudget
from coach_common.errors import Unavailable
from support.decoded_transcriber import DecodedTranscriber
from support.openai_server import OVERALL_SCORE, OpenAIServer, scoring_completion

TABLE = yaml.safe_load(Path(__file__).with_name("server_behaviours.yaml").read_text("utf-8"))
BEHAVIOURS = [
    {"server": server} | behaviour
    for server, behaviours in TABLE.items()
    for behaviour in behaviours
]
TEXT = "Last year I fixed a broken build. I measured every step. It took two days."
ANSWER = Answer("T", "Tell me about a hard problem.", TEXT, "en")
HELLO = ChatContext((Message("user", "Hi"),))
SCORING = scoring_completion()["choices"][0]["message"]["content"]

Row = Mapping[str, Any]
Request = dict[str, Any]


def _matches(request: Request, upload: bytes | None, conditions: Row) -> bool:
    """Return whether a request meets all conditions under which a response is sent."""
    checks: dict[str, Callable[[Any], bool]] = {
        "response_format": lambda expected: _response_format(request) == expected,
        "has": lambda name: name in request,
        "has_role": lambda role: any(one["role"] == role for one in request["messages"]),
        "audio": lambda name: (upload or b"").startswith({"opus": b"OggS", "wav": b"RIFF"}[name]),
    }
    return all(checks[name](expected) for name, expected in conditions.items())


def _response_format(request: Request) -> str | None:
    value = request.get("response_format")
    return value.get("type") if isinstance(value, dict) else value


def _fill(value: Any) -> Any:
    """Return a recorded body with the model's text in the place of `SCORING`."""
    if isinstance(value, str):
        return value.replace("SCORING", SCORING)
    if isinstance(value, list):
        return [_fill(item) for item in value]
    if isinstance(value, dict):
        return {key: _fill(item) for key, item in value.items()}
    return value


def _replay(server: OpenAIServer, row: Row) -> Callable[[Request], Response]:
    def respond(request: Request) -> Response:
        upload = server.uploads[-1] if server.uploads else None
        for recorded in row["responses"]:
            if _matches(request, upload, recorded.get("when", {})):
                headers, status = recorded.get("headers"), recorded.get("status", 200)
                body = _fill(recorded["body"])
                if isinstance(body, str):
                    kind = recorded.get("content_type", "text/plain")
                    return Response(body, status, headers, media_type=kind)
                return JSONResponse(body, status, headers)
        raise AssertionError(f"no response is recorded for {request}")

    return respond


def _adapter(row: Row, url: str) -> OpenAIScorer | OpenAIChat | DecodedTranscriber:
    model = row.get("model", "model")
    match row["operation"]:
        case "score":
            return OpenAIScorer("key", url, model)
        case "chat":
            return OpenAIChat("key", url, model)
        case _:
            return DecodedTranscriber("key", url, model, None)


async def _call(
    adapter: OpenAIScorer | OpenAIChat | DecodedTranscriber, folder: Path, usage: TokenUsage
) -> Any:
    """Return what the row's `result` is compared to."""
    if isinstance(adapter, OpenAIScorer):
        score = (await adapter.score(ANSWER, usage)).overall_score
        return "the score" if score == OVERALL_SCORE else score
    if isinstance(adapter, OpenAIChat):
        return "".join([piece async for piece in adapter.reply(HELLO, usage)])
    budget = UnlimitedBudget(usage)
    transcript = await adapter.transcribe(folder / "recording", prompt="Kafka", budget=budget)
    return [transcript.text, *(word.text for word in transcript.words)]


@pytest.mark.parametrize(
    "row", BEHAVIOURS, ids=[f"{one['server']}: {one['id']}" for one in BEHAVIOURS]
)
async def test_recorded_behaviour_has_its_outcome(
    server: OpenAIServer, tmp_path: Path, row: Row
) -> None:
    server.answers = [_replay(server, row)]
    adapter = _adapter(row, server.url)
    usage = TokenUsage()
    try:
        if "waits" in row:
            with pytest.raises(Unavailable, match=row["waits"]):
                await _call(adapter, tmp_path, usage)
            with pytest.raises(Unavailable, match=row["waits"]):
                await adapter.check()
        elif "fails" in row:
            with pytest.raises((CannotScore, CannotTranscribe), match=row["fails"]):
                await _call(adapter, tmp_path, usage)
            await adapter.check()
        else:
            assert await _call(adapter, tmp_path, usage) == row["result"]
            await adapter.check()
    finally:
        await adapter.close()

    assert [form.name for form in request_forms._REMEMBERED.values()] == row.get("remembers", [])
    assert len(server.requests) == row.get("requests", len(row["responses"]))
    if "tokens" in row:
        assert [usage.tokens_in, usage.tokens_out] == row["tokens"]


def test_every_behaviour_has_a_source() -> None:
    for row in BEHAVIOURS:
        assert row["source"].startswith("https://"), row["id"]
        assert len({"result", "waits", "fails"} & set(row)) == 1, row["id"]
    assert len({(row["server"], row["id"]) for row in BEHAVIOURS}) == len(BEHAVIOURS)
