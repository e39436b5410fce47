"""Merging the services' OpenAPI documents into the one public document."""

from collections.abc import Mapping
from typing import Any

from coach_common.http.app import VERSION
from coach_gateway.routing import ROUTES, Route

_SOCKET = """Live pushes come over the WebSocket `/ws/transcribe` (JSON text frames).

Authenticate with the `Authorization` header, the subprotocol pair `bearer, <token>`, or a first
frame `{"type": "auth", "token": …}` within 10 s. You may send `session_start`, `audio_uri`,
`complete` and `ping`; you are told `transcript`, `feedback`, `session_started`, `pong` and
`error`. With `last_event_id` in `auth`, what you missed is sent again."""

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457; `detail` is one sentence for the person who reads it.",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": ["string", "null"]},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "msg": {"type": "string"},
                    "type": {"type": "string"},
                },
            },
        },
    },
}
_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_HEADERS: dict[str, dict[str, Any]] = {
    "401": {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    "429": {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}},
    "503": {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}},
}
_WHY = {
    "400": "It cannot be done as asked, or the request is broken.",
    "401": "There is no valid proof of who asks.",
    "403": "Not allowed, such as a wrong current password.",
    "404": "It does not exist, or is somebody else's.",
    "409": "It contradicts what already stands.",
    "413": "Larger than may be.",
    "415": "A type that is not taken.",
    "422": "Malformed; `errors` says where.",
    "429": "Too many, for now.",
    "503": "Something needed is away; the same call may work later.",
}
_UNNEEDED = ("HTTPValidationError", "ValidationError")


def merge(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the public document: of each service's operations those in ROUTES, and no others."""
    schemas: dict[str, Any] = {"Problem": _PROBLEM}
    paths: dict[str, Any] = {}
    for document in documents.values():
        for name, schema in document.get("components", {}).get("schemas", {}).items():
            if name in _UNNEEDED:
                continue
            if schemas.setdefault(name, schema) != schema:
                raise ValueError(f"two different schemas are called {name}")
    for route in ROUTES:
        path, operation = _operation(documents[route.upstream], route)
        paths.setdefault(path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "GenAI Coach",
            "version": VERSION,
            "description": f"Practise job interviews.\n\n{_SOCKET}",
        },
        "servers": [{"url": "/v1"}, {"url": "/", "description": "the alias of shipped apps"}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {f"Problem{status}": _problem(status) for status in _WHY},
            "securitySchemes": {
                "accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _operation(document: Mapping[str, Any], route: Route) -> tuple[str, dict[str, Any]]:
    for path, operations in document["paths"].items():
        shape = "/".join("{id}" if part.startswith("{") else part for part in path.split("/"))
        if shape == route.path and route.method.lower() in operations:
            operation = dict(operations[route.method.lower()])
            said = operation["responses"]
            refusals = {status for status in said if status >= "400"} - {"422"}
            operation["responses"] = {
                status: answer for status, answer in said.items() if status < "400"
            } | {
                status: {"$ref": f"#/components/responses/Problem{status}"}
                for status in sorted(refusals | _refusals(operation, route))
            }
            operation["security"] = [] if route.is_open else [{"accessToken": []}]
            return path, operation
    raise ValueError(f"{route.upstream} does not serve {route.method} {route.path}")


def _refusals(operation: Mapping[str, Any], route: Route) -> set[str]:
    """Return what a route may answer without its service's saying so."""
    found = {"400", "429", "503"}
    if not route.is_open:
        found.add("401")
    if "{id}" in route.path:
        found.add("404")
    if "requestBody" in operation:
        found |= {"413", "415", "422"}
    if any(one["in"] == "query" for one in operation.get("parameters", ())):
        found.add("422")
    return found


def _problem(status: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": _WHY[status], "content": _CONTENT}
    return answer | ({"headers": _HEADERS[status]} if status in _HEADERS else {})
