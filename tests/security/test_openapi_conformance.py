"""The whole public document against the running system: no fault, and no answer off schema.

Inputs are made from the document, valid and not; the same ones in every run.
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

schema = schemathesis.openapi.from_dict(public_document())

_CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_headers_conformance, response_schema_conformance, unsupported_method,
]  # fmt: skip


@pytest.fixture(scope="module")
def fuzzer(target: SystemUnderTest) -> dict[str, str]:
    """A person of this file's own: their access token, and a session of theirs."""
    token = _register(target)
    answer = httpx.post(
        f"{target.url}/sessions",
        json={"title": "Fuzzed"},
        headers={"authorization": f"Bearer {token}"},
    )
    return {"token": token, "session_id": answer.json()["id"]}


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
    # Calls to auth may end the login or the account: each by somebody new.
    token = _register(target) if case.path.startswith("/auth") else fuzzer["token"]
    if case.method != "DELETE" and "session_id" in case.path_parameters:
        case.path_parameters["session_id"] = fuzzer["session_id"]
    case.call_and_validate(
        base_url=f"{target.url}/v1",
        headers={"authorization": f"Bearer {token}"},
        checks=_CHECKS,
    )


def test_protected_routes_require_token(target: SystemUnderTest) -> None:
    asked = [
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, operations in public_document()["paths"].items()
        for method, operation in operations.items()
        if operation["security"]
    ]
    with httpx.Client(base_url=f"{target.url}/v1") as client:
        answers = [client.request(method, path).status_code for method, path in asked]

    assert len(asked) >= 15
    assert set(answers) == {401}


def _register(target: SystemUnderTest) -> str:
    body = {"email": f"{new_id()}@example.com", "password": PASSWORD}
    return str(httpx.post(f"{target.url}/auth/register", json=body).json()["token"])
