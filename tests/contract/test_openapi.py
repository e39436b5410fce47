"""The public OpenAPI document is good enough to generate a client from."""

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import jsonschema_rs
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

import coach_ai.public_routers
import coach_auth.public_routers
import coach_media.public_routers
import coach_sessions.public_routers
from coach_gateway.routing import ROUTES

FREE_FORM_OBJECTS: frozenset[str] = frozenset()
"""JSON pointers of objects whose keys and values are not known in advance."""

_PARAMETER = re.compile(r"{\w+}")
_CAMEL_CASE = re.compile(r"[a-z]+([A-Z][a-z]*)*")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    text = (files("coach_gateway") / "openapi.json").read_text()
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in document["paths"].values():
        yield from operations.values()


def _schemas(node: Any, pointer: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every JSON object of the document with its pointer, without examples."""
    if isinstance(node, dict):
        yield pointer, node
        for key, value in node.items():
            if key not in ("examples", "example", "default", "const"):
                yield from _schemas(value, f"{pointer}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _schemas(value, f"{pointer}/{index}")


def _is_free_form(schema: dict[str, Any]) -> bool:
    if schema.get("additionalProperties") is True or schema.get("additionalProperties") == {}:
        return True
    is_object = schema.get("type") == "object"
    return is_object and not schema.keys() & {"properties", "additionalProperties", "$ref"}


@pytest.mark.parametrize(
    ("service", "routers"),
    [
        ("auth", coach_auth.public_routers.PUBLIC_ROUTERS),
        ("sessions", coach_sessions.public_routers.PUBLIC_ROUTERS),
        ("media", coach_media.public_routers.PUBLIC_ROUTERS),
        ("ai", coach_ai.public_routers.PUBLIC_ROUTERS),
    ],
    ids=["auth", "sessions", "media", "ai"],
)
def test_gateway_routes_every_public_operation(
    service: str, routers: tuple[APIRouter, ...]
) -> None:
    served = {
        (method, _PARAMETER.sub("{id}", route.path))
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and not route.path.startswith("/internal/")
        for method in route.methods
    }
    routed = {(route.method, route.path) for route in ROUTES if route.upstream == service}

    assert served == routed


def test_no_object_is_free_form_without_a_reason(document: dict[str, Any]) -> None:
    found = {pointer for pointer, schema in _schemas(document) if _is_free_form(schema)}

    assert found == FREE_FORM_OBJECTS


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "additionalProperties": True},
        {"additionalProperties": {}},
    ],
)
def test_free_form_objects_are_recognized(schema: dict[str, Any]) -> None:
    assert _is_free_form(schema)


def test_operation_ids_are_unique_camel_case_names(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for operation in _operations(document)]

    assert len(ids) == len(set(ids))
    assert [name for name in ids if not _CAMEL_CASE.fullmatch(name)] == []
    assert {"register", "getCurrentUser", "revokeLogin", "presignUpload", "confirmUpload"} <= {*ids}


def test_every_tag_has_a_description(document: dict[str, Any]) -> None:
    described = {tag["name"] for tag in document["tags"] if tag["description"].endswith(".")}

    assert {tag for operation in _operations(document) for tag in operation["tags"]} == described


def test_bodies_and_responses_of_sessions_have_valid_examples(document: dict[str, Any]) -> None:
    names = {
        pointer["$ref"].rpartition("/")[2]
        for operation in _operations(document)
        if "sessions" in operation["tags"]
        for _, pointer in _schemas([operation.get("requestBody", {}), operation["responses"]])
        if pointer.get("$ref", "").startswith("#/components/schemas/")
    }
    schemas = document["components"]["schemas"]

    assert names >= {"CreateSessionRequest", "CompleteSessionRequest", "Session", "FeedbackView"}
    for name in names:
        for example in schemas[name]["examples"]:
            schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
            jsonschema_rs.Draft202012Validator(schema).validate(example)
