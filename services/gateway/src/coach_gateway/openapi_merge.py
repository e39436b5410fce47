"""Merges the services' OpenAPI documents into the public document."""

from collections.abc import Mapping
from typing import Any

from coach_common.http.app import VERSION
from coach_gateway.routing import ROUTES, Route

_SOCKET_DESCRIPTION = """The WebSocket `/ws/transcribe` sends live updates (JSON text frames).

Authenticate with the `Authorization` header, the subprotocol pair `bearer, <token>`, or a first
frame `{"type": "auth", "token": …}` within 10 s. Clients send `session_start`, `audio_uri`,
`complete` and `ping`. The server sends `transcript`, `feedback`, `session_started`, `pong` and
`error`. With `last_event_id` in `auth`, missed messages are replayed."""

_TAGS = {
    "auth": "Accounts, tokens and signed-in devices.",
    "sessions": "Practice sessions and their feedback.",
    "progress": "What the user has practised, and what has changed.",
    "upload": "Upload and playback of recordings.",
    "questions": "The question bank, and the user's own questions.",
    "interviews": "Interviews with an interviewer who follows up, and their assessments.",
    "profile": "The profile of the user, with résumé, job description and stories.",
    "privacy": "Consent, export of all data, and receipts of deletions.",
    "ai": "The interview coach, and the quality of its scores.",
}

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem details. `detail` is one sentence for the user.",
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
_STATUS_DESCRIPTIONS = {
    "400": "Bad request.",
    "401": "Missing, invalid or expired access token.",
    "403": "Not allowed, such as a wrong current password.",
    "404": "Not found, or not owned by the current user.",
    "409": "Conflicts with the current state.",
    "413": "Payload too large.",
    "415": "Unsupported media type.",
    "422": "Validation failed; see `errors`.",
    "429": "Rate limit exceeded; see `Retry-After`.",
    "503": "A dependency is unavailable; retry after `Retry-After` seconds.",
}
_EXCLUDED_SCHEMAS = ("HTTPValidationError", "ValidationError")


def merge(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the public document, which contains the operations in ROUTES only."""
    schemas: dict[str, Any] = {"Problem": _PROBLEM}
    paths: dict[str, Any] = {}
    for document in documents.values():
        for name, schema in document.get("components", {}).get("schemas", {}).items():
            if name in _EXCLUDED_SCHEMAS:
                continue
            if schemas.setdefault(name, schema) != schema:
                raise ValueError(f"two different schemas have the name {name}")
    for route in ROUTES:
        path, operation = _operation(documents[route.upstream], route)
        paths.setdefault(path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "GenAI Coach",
            "version": VERSION,
            "description": f"Practise job interviews.\n\n{_SOCKET_DESCRIPTION}",
        },
        "servers": [
            {"url": "/v1"},
            {"url": "/", "description": "Unversioned alias, for older app versions"},
        ],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {
                f"Problem{status}": _problem_response(status) for status in _STATUS_DESCRIPTIONS
            },
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
            responses = operation["responses"]
            declared_errors = {status for status in responses if status >= "400"} - {"422"}
            operation["responses"] = {
                status: response for status, response in responses.items() if status < "400"
            } | {
                status: {"$ref": f"#/components/responses/Problem{status}"}
                for status in sorted(declared_errors | _implied_error_statuses(operation, route))
            }
            operation["security"] = [] if route.is_open else [{"accessToken": []}]
            return path, operation
    raise ValueError(f"{route.upstream} does not serve {route.method} {route.path}")


def _implied_error_statuses(operation: Mapping[str, Any], route: Route) -> set[str]:
    """Return the error statuses that the gateway adds to a route."""
    statuses = {"400", "429", "503"}
    if not route.is_open:
        statuses.add("401")
    if "{id}" in route.path:
        statuses.add("404")
    if "requestBody" in operation:
        statuses |= {"413", "415", "422"}
    if any(one["in"] == "query" for one in operation.get("parameters", ())):
        statuses.add("422")
    return statuses


def _problem_response(status: str) -> dict[str, Any]:
    response: dict[str, Any] = {"description": _STATUS_DESCRIPTIONS[status], "content": _CONTENT}
    return response | ({"headers": _HEADERS[status]} if status in _HEADERS else {})
