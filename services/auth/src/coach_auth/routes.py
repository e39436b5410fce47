"""The routes of auth: parse, call, shape."""

import hmac
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request

from coach_auth.deps import Deps
from coach_auth.schemas import (
    Change,
    Credentials,
    Deletion,
    Jwks,
    LoginsOut,
    LogoutRequest,
    Refreshed,
    RefreshRequest,
    Registration,
    Said,
    SignedInOut,
    UserOut,
)
from coach_auth.use_cases import accounts, logins, signing
from coach_common.clock import rfc3339
from coach_common.http.app import RetryingRoute
from coach_common.http.caller import Caller, FromApp, ServiceOnly
from coach_common.ids import parse_id

router = APIRouter(tags=["auth"], route_class=RetryingRoute)


def _address(request: Request) -> str:
    """Return the client's address: the gateway's word where it proves itself, else the peer's."""
    token = request.headers.get("x-gateway-token", "")
    if hmac.compare_digest(token.encode(), request.app.state.service_token.encode()):
        return request.headers.get("x-forwarded-for", "")
    return request.client.host if request.client else ""


AuthDeps = Annotated[Deps, FromApp]
Address = Annotated[str, Depends(_address)]
Agent = Annotated[str | None, Header(alias="user-agent", include_in_schema=False)]


@router.post("/auth/register", status_code=201)
async def register(body: Registration, deps: AuthDeps, agent: Agent = None) -> SignedInOut:
    """Make an account and sign in."""
    signed_in = await accounts.register(
        deps, email=body.email, password=body.password, name=body.name, agent=agent
    )
    return SignedInOut.of(signed_in)


@router.post("/auth/login", responses={401: {}})
async def login(
    body: Credentials, deps: AuthDeps, address: Address, agent: Agent = None
) -> SignedInOut:
    """Sign in."""
    signed_in = await accounts.login(
        deps, email=body.email, password=body.password, address=address, agent=agent
    )
    return SignedInOut.of(signed_in)


@router.post("/auth/refresh", responses={401: {}})
async def refresh(body: RefreshRequest, deps: AuthDeps) -> Refreshed:
    """Rotate the refresh token; parallel calls with one token get the same successor."""
    return Refreshed.of(await logins.refresh(deps, body.refresh_token))


@router.post("/auth/logout")
async def logout(caller: Caller, deps: AuthDeps, body: LogoutRequest | None = None) -> Said:
    """End this login, or all of them."""
    await logins.logout(deps, caller, everywhere=body is not None and body.everywhere)
    return Said(message="Signed out")


@router.get("/auth/me")
async def get_me(caller: Caller, deps: AuthDeps) -> UserOut:
    """Return the caller's account."""
    return UserOut.of(await accounts.get_me(deps, caller))


@router.put("/auth/me")
async def change_me(body: Change, caller: Caller, deps: AuthDeps, address: Address) -> UserOut:
    """Change name, e-mail or password; a new password ends all other logins."""
    user = await accounts.change_me(
        deps,
        caller,
        name=body.name,
        email=body.email,
        new_password=body.wanted_password,
        current_password=body.given_password,
        address=address,
    )
    return UserOut.of(user)


@router.delete("/auth/me", status_code=204)
async def delete_me(body: Deletion, caller: Caller, deps: AuthDeps, address: Address) -> None:
    """Erase the account and everything it owns in every service."""
    await accounts.delete_me(deps, caller, password=body.password, address=address)


@router.get("/auth/logins")
async def list_logins(caller: Caller, deps: AuthDeps) -> LoginsOut:
    """Return the devices that are signed in, the one used last first; at most 100."""
    return LoginsOut.of(await logins.list_logins(deps, caller), current=caller.login_id)


@router.delete("/auth/logins/{login_id}", status_code=204)
async def end_login(login_id: str, caller: Caller, deps: AuthDeps) -> None:
    """Sign one device out, within a second; 404 for one that is not the caller's."""
    await logins.end_login(deps, caller, parse_id(login_id, what="Sign-in"))


@router.get("/.well-known/jwks.json")
async def get_jwks(deps: AuthDeps) -> Jwks:
    """Return the public keys that access tokens are signed with."""
    return Jwks(keys=await signing.get_jwks(deps))


@router.get("/internal/revocations", dependencies=[ServiceOnly], include_in_schema=False)
async def list_revocations(
    deps: AuthDeps, after: Annotated[str | None, Query(max_length=36)] = None
) -> dict[str, Any]:
    """Return the logins that ended after the cursor, each until no token of it can be good."""
    known = parse_id(after, what="Cursor") if after else None
    cursor, rows = await logins.list_revocations(deps, known)
    return {
        "cursor": "" if cursor is None else str(cursor),
        "revoked": [
            {"login_id": str(row["login_id"]), "expires_at": rfc3339(row["expires_at"])}
            for row in rows
        ],
    }
