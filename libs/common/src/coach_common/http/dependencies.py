"""FastAPI dependencies: the caller of a request, and what `build` made for the routes."""

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from coach_common.credentials import is_service_token
from coach_common.errors import Unauthenticated
from coach_common.identity import Identity
from coach_common.tokens import AccessTokenVerifier

D = TypeVar("D")

_bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", scheme_name="accessToken")
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


@dataclass(slots=True)
class AppState:
    """What the routes of a service need. `create_app` stores it in the app."""

    deps: object
    """The service's `Deps`; `inject_deps` checks the class."""
    tokens: AccessTokenVerifier
    service_token: str = ""
    """SERVICE_TOKEN. If it is empty, no caller passes as a service."""


def set_app_state(app: FastAPI, state: AppState) -> None:
    """Store the state in the app."""
    app.state.coach = state


def get_app_state(app: FastAPI) -> AppState:
    """Return the state that `create_app` stored in the app."""
    state = getattr(app.state, "coach", None)
    if not isinstance(state, AppState):
        raise TypeError("the app was created without an AppState")
    return state


def inject_deps(deps_class: type[D]) -> Any:
    """Return a dependency that provides the service's `Deps`.

    Use it as `SessionsDeps = Annotated[Deps, inject_deps(Deps)]`.
    """

    async def provide(request: Request) -> D:
        deps = get_app_state(request.app).deps
        if not isinstance(deps, deps_class):
            raise TypeError(f"the app has no {deps_class.__name__}")
        return deps

    return Depends(provide)


async def _current_user(request: Request, credentials: _Credentials) -> Identity:
    if credentials is None:
        raise Unauthenticated("Please sign in.", code="token_missing")
    return await get_app_state(request.app).tokens.verify(credentials.credentials)


async def _bearer_token(credentials: _Credentials) -> str:
    if credentials is None:
        raise Unauthenticated("Please sign in.", code="token_missing")
    return credentials.credentials


async def _require_service_token(request: Request, credentials: _Credentials) -> None:
    presented = "" if credentials is None else credentials.credentials
    if not is_service_token(presented, get_app_state(request.app).service_token):
        raise Unauthenticated("Invalid service token.", code="token_invalid")


CurrentUser = Annotated[Identity, Depends(_current_user)]
"""The verified caller of the request."""

BearerToken = Annotated[str, Depends(_bearer_token)]
"""The access token of the request, to call another service on behalf of the user."""

RequireServiceToken = Depends(_require_service_token)
"""For `/internal/*`: rejects callers without SERVICE_TOKEN."""
