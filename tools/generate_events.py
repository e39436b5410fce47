"""Write docs/events.md and docs/asyncapi.json from the event catalogue.

Usage: `python tools/generate_events.py [--check]`.
"""

import inspect
import json
import sys
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from coach_common.events.base import Event
from coach_common.events.catalog import CATALOG
from coach_common.messaging.subscriptions import RETRY_DELAYS_SECONDS, queue_name
from generated_file import ROOT, write_or_check

_SCHEMAS = "#/components/schemas/"
_PUSHED_TO_CLIENTS = (
    "session.transcribed",
    "session.measured",
    "session.judged",
    "transcription.completed",
    "transcription.progressed",
)


def render_markdown() -> str:
    """Return docs/events.md."""
    rows = "\n".join(
        f"| `{event.type}` | {event.source} | {_fields(event)} | {_consumers(event)} |"
        for event in CATALOG.values()
    )
    schemas = _schemas()
    event_names = {event.__name__ for event in CATALOG.values()}
    sections = "\n\n".join(
        f"### `{event.type}`\n\n{_text(event)}\n\n{_table(schemas[event.__name__])}"
        for event in CATALOG.values()
    )
    shared = "\n\n".join(
        f"### {name}\n\n{schema['description']}\n\n{_table(schema)}"
        for name, schema in schemas.items()
        if name not in event_names
    )
    delays = ", ".join(f"{seconds:g} s" for seconds in RETRY_DELAYS_SECONDS)
    return f"""# Events

Reference for backend engineers: every event with its publisher, consumers and fields. Generated
from `coach_common/events/catalog.py` by `make docs`. [asyncapi.json](asyncapi.json) is the
machine-readable form. Golden samples are in `tests/contract/golden`.

CloudEvents 1.0 in structured JSON: `specversion`, `id` (UUIDv7), `type`, `source`
(`/services/media`), `subject`, `time`, `datacontenttype`, `traceparent`, `data`. On RabbitMQ:
topic exchange `coach.events`, routing key = `type`, persistent messages, publisher confirms.
Delivery is at least once and unordered; a consumer applies each `id` once. Fields may be added.
No field is renamed or gets another type. Consumers ignore unknown fields.

Each pair of service and event has a durable queue, for example `ai.upload.confirmed`. Deliveries
that fail because a dependency is unavailable are retried after {delays}; then the message is
moved to `<queue>.dead`. Permanent failures are dead-lettered immediately. Events without a
consumer are kept in `coach.unrouted` for 7 days. An event whose queues are missing is kept in
`coach.misrouted` and published again once they are declared. An event from another source than its
publisher is dead-lettered.

| type | publisher | data | consumers |
|---|---|---|---|
{rows}

## Events

{sections}

## Shared data types

{shared}
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
            "summary": _text(event),
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
        operations[f"{event.source}.send.{event.type}"] = {
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
        "components": {"messages": messages, "schemas": _schemas()},
    }


def _schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of every event and of every model that events contain."""
    models: list[tuple[type[BaseModel], Any]] = [
        (event, "serialization") for event in CATALOG.values()
    ]
    _, document = models_json_schema(models, ref_template=f"{_SCHEMAS}{{model}}")
    schemas: dict[str, dict[str, Any]] = document["$defs"]
    return schemas


def _text(event: type[Event]) -> str:
    return inspect.getdoc(event) or ""


def _envelope(event: type[Event]) -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["specversion", "id", "type", "source", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "format": "uuid"},
            "type": {"const": event.type},
            "source": {"const": f"/services/{event.source}"},
            "subject": text,
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "traceparent": {"type": ["string", "null"]},
            "data": {"$ref": f"{_SCHEMAS}{event.__name__}"},
        },
    }


def _fields(event: type[Event]) -> str:
    return ", ".join(
        name if field.is_required() else f"{name}?" for name, field in event.model_fields.items()
    )


def _consumers(event: type[Event]) -> str:
    pushed = ["gateway pushes"] if event.type in _PUSHED_TO_CLIENTS else []
    return ", ".join([*event.consumers, *pushed]) or "(kept 7 days)"


def _table(schema: dict[str, Any]) -> str:
    rows = [
        f"| `{name}` | {_type_name(field)} | {_description(field)} |"
        for name, field in schema["properties"].items()
    ]
    return "\n".join(["| field | type | |", "|---|---|---|", *rows])


def _description(field: dict[str, Any]) -> str:
    values = ", ".join(f"`{value}`" for value in field.get("enum", ()))
    parts = (field.get("description"), values and f"one of {values}")
    return "; ".join(part for part in parts if part)


def _type_name(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_SCHEMAS)
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type_name(option) for option in schema["anyOf"])
    kind = str(schema.get("format") or schema.get("type", "any"))
    return (
        f"list of {_type_name(schema['items'])}" if kind == "array" and "items" in schema else kind
    )


if __name__ == "__main__":
    documents = {
        "docs/events.md": render_markdown(),
        "docs/asyncapi.json": json.dumps(build_asyncapi(), indent=1) + "\n",
    }
    codes = [write_or_check(ROOT / name, text, sys.argv[1:]) for name, text in documents.items()]
    raise SystemExit(max(codes))
