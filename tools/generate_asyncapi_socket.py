"""Write docs/asyncapi-socket.json from the frames of the WebSocket.

Usage: `python tools/generate_asyncapi_socket.py [--check]`.
"""

import inspect
import json
import sys
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from coach_gateway.sockets.frames import CLIENT_FRAMES, SERVER_FRAMES
from generated_file import ROOT, write_or_check

_FILE = ROOT / "docs" / "asyncapi-socket.json"

_SCHEMAS = "#/components/schemas/"
_MESSAGES = "#/channels/socket/messages/"
_DESCRIPTION = """JSON text frames in both directions; binary frames are live audio.

Authenticate with the `Authorization` header, the subprotocol pair `bearer, <token>`, or a first
frame `auth` within 10 s. `transcript`, `progress`, `feedback` and `export` are pushed to all
sockets of the user. An invalid frame gets an `error`, and the socket stays open. The server closes
the socket with 1008 (authentication), 1009 (frame above 4 MiB), 1011 (internal error) or 1012
(restart)."""
_BINARY_AUDIO = {
    "name": "audio",
    "contentType": "application/octet-stream",
    "summary": "A binary frame: live audio, between `audio_start` and `audio_end`.",
    "payload": {"type": "string", "format": "binary"},
}


def build_document() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of the socket."""
    received = {frame.__name__: _message(frame) for frame in CLIENT_FRAMES}
    received["BinaryAudio"] = _BINARY_AUDIO
    sent = {frame.__name__: _message(frame) for frame in SERVER_FRAMES}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "GenAI Coach: socket", "version": "1", "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": "/ws/transcribe",
                "messages": {
                    name: {"$ref": f"#/components/messages/{name}"} for name in received | sent
                },
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": {
            "receiveClientFrame": _operation("receive", received),
            "sendServerFrame": _operation("send", sent),
        },
        "components": {"messages": received | sent, "schemas": _schemas()},
    }


def _message(frame: type[BaseModel]) -> dict[str, Any]:
    type_field = frame.model_json_schema()["properties"]["type"]
    return {
        "name": type_field["const"],
        "summary": inspect.getdoc(frame) or "",
        "payload": {"$ref": f"{_SCHEMAS}{frame.__name__}"},
    }


def _operation(action: str, messages: dict[str, Any]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/socket"},
        "messages": [{"$ref": f"{_MESSAGES}{name}"} for name in messages],
    }


def _schemas() -> dict[str, Any]:
    models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        *((frame, "validation") for frame in CLIENT_FRAMES),
        *((frame, "serialization") for frame in SERVER_FRAMES),
    ]
    _, document = models_json_schema(models, ref_template=f"{_SCHEMAS}{{model}}")
    schemas: dict[str, Any] = document["$defs"]
    return schemas


if __name__ == "__main__":
    text = json.dumps(build_document(), indent=1, ensure_ascii=False) + "\n"
    raise SystemExit(write_or_check(_FILE, text, sys.argv[1:]))
