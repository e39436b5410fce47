"""Who calls a route, from the Authorization header, checked again in every service."""

import hmac
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from coach_common.errors import Unauthenticated
from coach_common.identity import Identity

_bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", scheme_name="accessToken")
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def _current_user(request: Request, credentials: _Credentials) -> Identity:
    if credentials is None:
        raise Unauthenticated("Please sign in.", code="token_missing")
    identity: Identity = await request.app.state.tokens.verify(credentials.credentials)
    return identity


async def _bearer_token(credentials: _Credentials) -> str:
    if credentials is None:
        raise Unauthenticated("Please sign in.", code="token_missing")
    return credentials.credentials


async def _service_token(request: Request, credentials: _Credentials) -> None:
    expected: str = request.app.state.service_token
    given = "" if credentials is None else credentials.credentials
    if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
        raise Unauthenticated("Invalid service token.", code="token_invalid")


async def _deps(request: Request) -> Any:
    return request.app.state.deps


CurrentUser = Annotated[Identity, Depends(_current_user)]
"""The person whose token the request carries."""

BearerToken = Annotated[str, Depends(_bearer_token)]
"""That token itself, to ask another service in the person's name."""

RequireServiceToken = Depends(_service_token)
"""For `/internal/*`: the caller holds SERVICE_TOKEN."""

InjectDeps = Depends(_deps)
"""What `build` put at `app.state.deps`: `deps: Annotated[Deps, FromApp]`."""
