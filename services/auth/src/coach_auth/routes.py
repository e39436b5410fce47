"""The routes of auth: parse, call, shape."""

import hmac
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request

from coach_auth.deps import Deps
from coach_auth.schemas import (
    DeleteAccountRequest,
    DeviceListResponse,
    JsonWebKeySet,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    MessageResponse,
    RefreshRequest,
    RegisterRequest,
    TokenResponse,
    UpdateAccountRequest,
    UserResponse,
)
from coach_auth.use_cases import accounts, logins, signing_keys
from coach_common.clock import rfc3339
from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.dependencies import CurrentUser, InjectDeps, RequireServiceToken
from coach_common.ids import parse_id

router = APIRouter(tags=["auth"], route_class=RetryOnConflictRoute)


def _client_ip(request: Request) -> str:
    """Return the client's address: the gateway's word where it proves itself, else the peer's."""
    token = request.headers.get("x-gateway-token", "")
    if hmac.compare_digest(token.encode(), request.app.state.service_token.encode()):
        return request.headers.get("x-forwarded-for", "")
    return request.client.host if request.client else ""


AuthDeps = Annotated[Deps, InjectDeps]
ClientIp = Annotated[str, Depends(_client_ip)]
UserAgent = Annotated[str | None, Header(alias="user-agent", include_in_schema=False)]


@router.post("/auth/register", status_code=201)
async def register(
    body: RegisterRequest, deps: AuthDeps, user_agent: UserAgent = None
) -> LoginResponse:
    """Make an account and sign in."""
    signed_in = await accounts.register(
        deps, email=body.email, password=body.password, name=body.name, user_agent=user_agent
    )
    return LoginResponse.from_domain(signed_in)


@router.post("/auth/login", responses={401: {}})
async def login(
    body: LoginRequest, deps: AuthDeps, client_ip: ClientIp, user_agent: UserAgent = None
) -> LoginResponse:
    """Sign in."""
    signed_in = await accounts.login(
        deps, email=body.email, password=body.password, client_ip=client_ip, user_agent=user_agent
    )
    return LoginResponse.from_domain(signed_in)


@router.post("/auth/refresh", responses={401: {}})
async def refresh(body: RefreshRequest, deps: AuthDeps) -> TokenResponse:
    """Rotate the refresh token; parallel calls with one token get the same successor."""
    return TokenResponse.from_domain(await logins.refresh(deps, body.refresh_token))


@router.post("/auth/logout")
async def logout(
    caller: CurrentUser, deps: AuthDeps, body: LogoutRequest | None = None
) -> MessageResponse:
    """End this login, or all of them."""
    await logins.logout(deps, caller, everywhere=body is not None and body.everywhere)
    return MessageResponse(message="Signed out")


@router.get("/auth/me")
async def get_me(caller: CurrentUser, deps: AuthDeps) -> UserResponse:
    """Return the caller's account."""
    return UserResponse.from_domain(await accounts.get_me(deps, caller))


@router.put("/auth/me")
async def update_me(
    body: UpdateAccountRequest, caller: CurrentUser, deps: AuthDeps, client_ip: ClientIp
) -> UserResponse:
    """Change name, e-mail or password; a new password ends all other logins."""
    user = await accounts.update_me(
        deps,
        caller,
        name=body.name,
        email=body.email,
        new_password=body.new_password_value,
        current_password=body.current_password_value,
        client_ip=client_ip,
    )
    return UserResponse.from_domain(user)


@router.delete("/auth/me", status_code=204)
async def delete_me(
    body: DeleteAccountRequest, caller: CurrentUser, deps: AuthDeps, client_ip: ClientIp
) -> None:
    """Erase the account and everything it owns in every service."""
    await accounts.delete_me(deps, caller, password=body.password, client_ip=client_ip)


@router.get("/auth/logins")
async def list_logins(caller: CurrentUser, deps: AuthDeps) -> DeviceListResponse:
    """Return the devices that are signed in, the one used last first; at most 100."""
    return DeviceListResponse.from_domain(
        await logins.list_logins(deps, caller), current=caller.login_id
    )


@router.delete("/auth/logins/{login_id}", status_code=204)
async def revoke_login(login_id: str, caller: CurrentUser, deps: AuthDeps) -> None:
    """Sign one device out, within a second; 404 for one that is not the caller's."""
    await logins.revoke_login(deps, caller, parse_id(login_id, resource="Device"))


@router.get("/.well-known/jwks.json")
async def get_jwks(deps: AuthDeps) -> JsonWebKeySet:
    """Return the public keys that access tokens are signed with."""
    return JsonWebKeySet(keys=await signing_keys.get_jwks(deps))


@router.get("/internal/revocations", dependencies=[RequireServiceToken], include_in_schema=False)
async def list_revocations(
    deps: AuthDeps, after: Annotated[str | None, Query(max_length=36)] = None
) -> dict[str, Any]:
    """Return the logins that ended after the cursor, each until no token of it can be good."""
    after_id = parse_id(after, resource="Cursor") if after else None
    cursor, rows = await logins.list_revocations(deps, after_id)
    return {
        "cursor": "" if cursor is None else str(cursor),
        "revoked": [
            {"login_id": str(row["login_id"]), "expires_at": rfc3339(row["expires_at"])}
            for row in rows
        ],
    }
