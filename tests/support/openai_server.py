"""A fake server of OpenAI's API over real HTTP, with scripted answers."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from coach_ai.scoring.rubric import load_rubric
from coach_common.config import Settings
from coach_common.service import Service, listen, running
from coach_common.testing.fakes import FakeTransport


@dataclass
class OpenAIServer:
    """Records the requests and sends the scripted answers in order. The last answer is repeated.

    An answer is a body, a response, seconds to wait, or a function of the request.
    """

    answers: list[Any] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    uploads: list[bytes] = field(default_factory=list)
    url: str = ""

    async def answer(self) -> Response:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer) and not isinstance(answer, Response):
            answer = answer(self.requests[-1]) if inspect.signature(answer).parameters else answer()
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return JSONResponse({})
        if isinstance(answer, Response):
            return answer
        return JSONResponse(answer)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/chat/completions")
        async def chat(request: Request) -> Response:
            self.requests.append(await request.json())
            return await self.answer()

        @app.post("/v1/audio/speech")
        async def speak(request: Request) -> Response:
            self.requests.append(await request.json())
            return await self.answer()

        @app.post("/v1/audio/transcriptions")
        async def transcribe(request: Request) -> Response:
            head = b"Content-Type: " + request.headers["content-type"].encode() + b"\r\n\r\n"
            form = BytesParser(policy=HTTP).parsebytes(head + await request.body())
            fields = {}
            for part in form.iter_parts():
                name = part.get_param("name", header="content-disposition")
                content = part.get_payload(decode=True)
                if name == "file":
                    self.uploads.append(content)
                else:
                    fields[str(name)] = content.decode()
            self.requests.append(fields)
            return await self.answer()

        return app

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator["OpenAIServer"]:
        server = cls()
        listener = listen("127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        settings = Settings(shutdown_seconds=1)
        service = Service("openai", server.app(), settings, FakeTransport(), deps=None)
        async with running(service, listener):
            yield server


def error_response(
    status: int, message: str = "no", *, code: str = "c", param: str | None = None, **headers: str
) -> Response:
    """Return an error response in the API's format."""
    body = {"error": {"message": message, "type": "t", "code": code, "param": param}}
    return JSONResponse(
        body, status, headers={name.replace("_", "-"): v for name, v in headers.items()}
    )


class DrippingResponse(StreamingResponse):
    """A response whose body never ends: a byte of white space every 20 ms."""

    def __init__(self) -> None:
        super().__init__(self._drip(), media_type="application/json")

    async def _drip(self) -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.02)


def completion(
    content: str | None, *, finish: str = "stop", refusal: str | None = None
) -> dict[str, Any]:
    """Return a chat completion."""
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": content, "refusal": refusal},
            }
        ],
    }


def with_usage(answer: dict[str, Any], tokens_in: int, tokens_out: int) -> dict[str, Any]:
    """Return the completion with its token usage."""
    return answer | {
        "usage": {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
        }
    }


def streamed_completion(
    *pieces: str | asyncio.Event,
    finish: str | None = "stop",
    usage: tuple[int, int] | None = None,
) -> "StreamedCompletion":
    """Return a streamed chat completion. It waits for each event among its pieces."""
    return StreamedCompletion(pieces, finish, usage)


class StreamedCompletion(StreamingResponse):
    """A streamed completion. `client_left` is set if the client disconnects before the end."""

    def __init__(
        self,
        pieces: Sequence[str | asyncio.Event],
        finish: str | None,
        usage: tuple[int, int] | None,
    ) -> None:
        self.client_left = asyncio.Event()
        self.usage = usage
        super().__init__(self._chunks(pieces, finish), media_type="text/event-stream")

    async def _chunks(
        self, pieces: Sequence[str | asyncio.Event], finish: str | None
    ) -> AsyncIterator[bytes]:
        try:
            for piece in pieces:
                if isinstance(piece, asyncio.Event):
                    await piece.wait()
                else:
                    yield _chunk({"role": "assistant", "content": piece}, None)
            if finish is not None:
                yield _chunk({}, finish)
                if self.usage is not None:
                    last = with_usage(_BODY | {"choices": []}, *self.usage)
                    yield f"data: {json.dumps(last)}\n\n".encode()
                yield b"data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.client_left.set()
            raise


_BODY = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def _chunk(delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps(_BODY | {'choices': [choice]})}\n\n".encode()


LEVELS = {
    "relevance": 4,
    "structure": 4,
    "specificity": 3,
    "reasoning": None,
    "clarity": 5,
    "technical": None,
}
OVERALL_SCORE = (
    load_rubric()
    .scores(LEVELS | {"delivery": None}, load_rubric().classify_question("Tell me about a problem"))
    .overall
)
"""Of an answer to a question about an experience, scored with LEVELS."""


def scoring_completion(**changed: Any) -> dict[str, Any]:
    """Return a scoring completion that follows the strict schema."""
    claim = {
        "kind": "strength", "dimension": "specificity", "text": "You name a figure.",
        "quote": "it took two days",
    }  # fmt: skip
    body = {
        "cannot_judge": None, "levels": LEVELS, "claims": [claim], "main_improvement": None,
        "star": None, "summary": "Well told.",
    }  # fmt: skip
    return completion(json.dumps(body | changed))
