"""The public OpenAPI document against the running system: no server errors, valid responses.

Inputs are generated from the document, valid and invalid, and are the same in every run.
"""

from typing import Any

import httpx
import pytest
import schemathesis
from attacker import PASSWORD, SystemUnderTest
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from coach_common.ids import new_id
from coach_gateway.local_routes import public_document


@schemathesis.serializer(
    "application/pdf", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
)
def serialize_document(context: Any, value: Any) -> bytes:
    """Send generated content as the file of a résumé."""
    return value if isinstance(value, bytes) else str(value).encode()


schema = schemathesis.openapi.from_dict(public_document())

_CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_headers_conformance, response_schema_conformance, unsupported_method,
]  # fmt: skip


@pytest.fixture(scope="module")
def fuzzer(target: SystemUnderTest) -> dict[str, str]:
    """A user of this module: access token and the id of a session."""
    token = _register(target)
    response = httpx.post(
        f"{target.url}/sessions",
        json={"title": "Fuzzed"},
        headers={"authorization": f"Bearer {token}"},
    )
    return {"token": token, "session_id": response.json()["id"]}


@schema.parametrize()
@settings(
    max_examples=20,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_responses_conform_to_openapi(
    case: Any, target: SystemUnderTest, fuzzer: dict[str, str]
) -> None:
    # Calls to auth may revoke the login or delete the account, so each uses a new user.
    token = _register(target) if case.path.startswith("/auth") else fuzzer["token"]
    if case.method != "DELETE" and "session_id" in case.path_parameters:
        case.path_parameters["session_id"] = fuzzer["session_id"]
    case.call_and_validate(
        base_url=f"{target.url}/v1",
        headers={"authorization": f"Bearer {token}"},
        checks=_CHECKS,
    )


def test_protected_routes_require_token(target: SystemUnderTest) -> None:
    protected = [
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, operations in public_document()["paths"].items()
        for method, operation in operations.items()
        if operation["security"]
    ]
    with httpx.Client(base_url=f"{target.url}/v1") as client:
        responses = [client.request(method, path).status_code for method, path in protected]

    assert len(protected) >= 15
    assert set(responses) == {401}


def _register(target: SystemUnderTest) -> str:
    body = {"email": f"{new_id()}@example.com", "password": PASSWORD}
    return str(httpx.post(f"{target.url}/auth/register", json=body).json()["token"])
