"""What routes receive from `coach_common.http.dependencies`."""

from dataclasses import dataclass
from typing import Annotated

import httpx
import pytest
from fastapi import FastAPI

from coach_common.http.app import create_app
from coach_common.http.dependencies import (
    AppState,
    CurrentUser,
    RequireServiceToken,
    get_app_state,
    inject_deps,
)
from coach_common.ids import new_id
from coach_common.testing.fakes import TokenIssuer


@dataclass(frozen=True)
class Deps:
    name: str


def _app(deps: object, issuer: TokenIssuer, *, service_token: str = "") -> FastAPI:
    app = create_app("test", checks={}, state=AppState(deps, issuer.verifier, service_token))

    @app.get("/name")
    async def get_name(deps: Annotated[Deps, inject_deps(Deps)]) -> str:
        return deps.name

    @app.get("/me")
    async def get_current_user(caller: CurrentUser) -> str:
        return str(caller.user_id)

    @app.get("/internal", dependencies=[RequireServiceToken])
    async def get_internal_state() -> str:
        return "internal"

    return app


def _client(app: FastAPI, **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)


async def test_route_receives_the_deps_of_its_service(issuer: TokenIssuer) -> None:
    async with _client(_app(Deps("sessions"), issuer)) as client:
        assert (await client.get("/name")).json() == "sessions"


async def test_deps_of_another_class_are_an_internal_error(issuer: TokenIssuer) -> None:
    async with _client(_app("something else", issuer)) as client:
        assert (await client.get("/name")).status_code == 500


def test_app_without_state_raises() -> None:
    with pytest.raises(TypeError):
        get_app_state(create_app("test", checks={}))


async def test_current_user_is_the_owner_of_the_token(issuer: TokenIssuer) -> None:
    user_id = new_id()
    async with _client(_app(Deps("a"), issuer), **issuer.bearer(user_id)) as client:
        assert (await client.get("/me")).json() == str(user_id)


@pytest.mark.parametrize(
    ("configured", "presented", "status"),
    [("a token", "a token", 200), ("a token", "another", 401), ("", "", 401), ("", "x", 401)],
)
async def test_internal_route_requires_the_service_token(
    issuer: TokenIssuer, configured: str, presented: str, status: int
) -> None:
    app = _app(Deps("a"), issuer, service_token=configured)
    async with _client(app, authorization=f"Bearer {presented}") as client:
        assert (await client.get("/internal")).status_code == status


def test_operation_ids_are_camel_case_function_names(issuer: TokenIssuer) -> None:
    document = _app(Deps("a"), issuer).openapi()

    assert {
        operation["operationId"] for path in document["paths"].values()
        for operation in path.values()
    } == {"getName", "getCurrentUser", "getInternalState"}  # fmt: skip
