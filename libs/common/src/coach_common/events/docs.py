"""`python -m coach_common.events.docs [--check]`: docs/events.md and docs/asyncapi.json.

Both are made from the catalogue, so they cannot say anything else than the code does.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coach_common.events.base import Event
from coach_common.events.catalog import CATALOG
from coach_common.messaging.subscriptions import RETRY_DELAYS_SECONDS, queue_name

_PUBLISHERS = {
    "user": "auth",
    "upload": "media",
    "transcription": "ai",
    "delivery": "ai",
    "session": "sessions",
    "feedback": "ai",
}
_PUSHED_TO_CLIENTS = (
    "session.transcribed",
    "session.measured",
    "session.judged",
    "transcription.completed",
    "transcription.progressed",
)


def publisher(event: type[Event]) -> str:
    """Return the service that says it."""
    return _PUBLISHERS[event.type.partition(".")[0]]


def render_markdown() -> str:
    """Return docs/events.md."""
    rows = "\n".join(
        f"| `{event.type}` | {publisher(event)} | {_fields(event)} | {_consumers(event)} |"
        for event in CATALOG.values()
    )
    sections = "\n\n".join(
        f"### `{event.type}`\n\n{event.__doc__}\n\n{_table(event)}" for event in CATALOG.values()
    )
    delays = ", ".join(f"{seconds:g} s" for seconds in RETRY_DELAYS_SECONDS)
    return f"""# Events

Made from `coach_common/events/catalog.py` by `make docs`; the same as data:
[asyncapi.json](asyncapi.json). Golden samples: `tests/contract/golden`.

CloudEvents 1.0 in structured JSON: `specversion`, `id` (UUIDv7), `type`, `source`
(`/services/media`), `subject`, `time`, `datacontenttype`, `traceparent`, `data`. On RabbitMQ:
topic exchange `coach.events`, routing key = `type`, persistent, confirmed. Delivery is at least
once and in no order; a consumer applies each `id` once. Fields may be added, none renamed or
retyped.

Each (service, event) has a durable queue, `ai.upload.confirmed` and so on. What fails for want of
something is tried again after {delays}, then it is a dead letter (`<queue>.dead`); what will not
get better is one at once. An event nobody listens to is kept in `coach.unrouted` for 7 days.

| type | from | data | who acts |
|---|---|---|---|
{rows}

{sections}
"""


def build_asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for event in CATALOG.values():
        name = event.__name__
        messages[name] = {
            "name": event.type,
            "contentType": "application/cloudevents+json",
            "summary": event.__doc__,
            "payload": _envelope(event),
        }
        channels[event.type] = {
            "address": event.type,
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            "bindings": {
                "amqp": {"is": "routingKey", "exchange": {"name": "coach.events", "type": "topic"}}
            },
        }
        channel = {"$ref": f"#/channels/{event.type.replace('/', '~1')}"}
        operations[f"{publisher(event)}.send.{event.type}"] = {
            "action": "send",
            "channel": channel,
        }
        for service in event.consumers:
            operations[f"{service}.receive.{event.type}"] = {
                "action": "receive",
                "channel": channel,
                "description": f"durable queue {queue_name(service, event)}",
            }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "GenAI Coach: events", "version": "1"},
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def main(argv: Sequence[str]) -> int:
    """Write both documents, or tell whether they are stale."""
    files = {
        Path("docs/events.md"): render_markdown(),
        Path("docs/asyncapi.json"): json.dumps(build_asyncapi(), indent=1) + "\n",
    }
    if "--check" not in argv:
        for file, text in files.items():
            file.write_text(text)
        return 0
    stale = [str(file) for file, text in files.items() if file.read_text() != text]
    if stale:
        print(f"stale: {', '.join(stale)}; run `make docs`", file=sys.stderr)
    return int(bool(stale))


def _envelope(event: type[Event]) -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["specversion", "id", "type", "source", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "format": "uuid"},
            "type": {"const": event.type},
            "source": {"const": f"/services/{publisher(event)}"},
            "subject": text,
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "traceparent": {"type": ["string", "null"]},
            "data": event.model_json_schema(),
        },
    }


def _fields(event: type[Event]) -> str:
    return ", ".join(
        name if field.is_required() else f"{name}?" for name, field in event.model_fields.items()
    )


def _consumers(event: type[Event]) -> str:
    pushed = ["gateway pushes"] if event.type in _PUSHED_TO_CLIENTS else []
    return ", ".join([*event.consumers, *pushed]) or "(kept 7 days)"


def _table(event: type[Event]) -> str:
    rows = [
        f"| `{name}` | {_type_name(schema)} | {schema.get('description', '')} |"
        for name, schema in event.model_json_schema()["properties"].items()
    ]
    return "\n".join(["| field | type | |", "|---|---|---|", *rows])


def _type_name(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type_name(option) for option in schema["anyOf"])
    kind = str(schema.get("format") or schema.get("type", "any"))
    return (
        f"list of {_type_name(schema['items'])}" if kind == "array" and "items" in schema else kind
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
