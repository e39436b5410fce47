"""The routes of auth: parse the request, call the use case, build the response."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from coach_auth.deps import Deps
from coach_auth.domain import ClientInfo, LoginNotFound, RevocationCursor
from coach_auth.schemas import (
    AuthResponse,
    DeleteAccountRequest,
    DeviceList,
    ForgotPasswordRequest,
    JsonWebKey,
    JsonWebKeySet,
    LoginRequest,
    LogoutRequest,
    MessageResponse,
    RefreshRequest,
    RegisterRequest,
    ResetPasswordRequest,
    RevocationsResponse,
    TokenRequest,
    TokenResponse,
    UpdateAccountRequest,
    User,
)
from coach_auth.use_cases import accounts, logins, recovery, signing_keys
from coach_common.client_address import group_address
from coach_common.credentials import is_service_token
from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.dependencies import (
    CurrentUser,
    RequireServiceToken,
    get_app_state,
    inject_deps,
)
from coach_common.http.receipts import RECEIPT_LOCATION, receipt_path
from coach_common.ids import parse_id

router = APIRouter(tags=["auth"], route_class=RetryOnConflictRoute)


async def _get_client_info(
    request: Request,
    user_agent: Annotated[str | None, Header(alias="user-agent", include_in_schema=False)] = None,
) -> ClientInfo:
    """Return the client's IP address (IPv6: its /64 network) and User-Agent.

    `X-Forwarded-For` is trusted only with the gateway's token; otherwise the peer's address counts.
    """
    token = request.headers.get("x-gateway-token", "")
    if is_service_token(token, get_app_state(request.app).service_token):
        ip = request.headers.get("x-forwarded-for", "")
    else:
        ip = request.client.host if request.client else ""
    return ClientInfo(group_address(ip), user_agent)


AuthDeps = Annotated[Deps, inject_deps(Deps)]
Client = Annotated[ClientInfo, Depends(_get_client_info)]


@router.post("/auth/register", status_code=201)
async def register(body: RegisterRequest, deps: AuthDeps, client: Client) -> AuthResponse:
    """Create an account and return tokens."""
    result = await accounts.register(
        deps, client, email=body.email, password=body.password, name=body.name
    )
    return AuthResponse.from_domain(result)


@router.post("/auth/login", responses={401: {}})
async def login(body: LoginRequest, deps: AuthDeps, client: Client) -> AuthResponse:
    """Exchange e-mail and password for tokens."""
    result = await accounts.login(deps, client, email=body.email, password=body.password)
    return AuthResponse.from_domain(result)


@router.post("/auth/refresh", responses={401: {}})
async def refresh(body: RefreshRequest, deps: AuthDeps) -> TokenResponse:
    """Exchange a refresh token for a new token pair.

    The old refresh token becomes invalid. Within 60 s it returns the same new refresh token again,
    as long as that one has not been used (parallel calls, or a lost response).
    """
    return TokenResponse.from_domain(await logins.refresh(deps, body.refresh_token))


@router.post("/auth/logout")
async def logout(
    caller: CurrentUser, deps: AuthDeps, body: LogoutRequest | None = None
) -> MessageResponse:
    """Sign out this device, or all devices with `everywhere: true`."""
    await logins.logout(deps, caller, everywhere=body is not None and body.everywhere)
    return MessageResponse(message="Signed out")


@router.get("/auth/me")
async def get_current_user(caller: CurrentUser, deps: AuthDeps) -> User:
    """Return the current user."""
    return User.from_domain(await accounts.get_me(deps, caller))


@router.put("/auth/me", responses={403: {}})
async def update_current_user(
    body: UpdateAccountRequest, caller: CurrentUser, deps: AuthDeps, client: Client
) -> User:
    """Update name, e-mail or password.

    Changing the password signs out all other devices. If the e-mail address changes, the
    former address gets a mail that can undo the change for 7 days.
    """
    user = await accounts.update_me(
        deps,
        caller,
        client,
        name=body.name,
        email=body.email,
        new_password=body.new_password_value,
        current_password=body.current_password_value,
    )
    return User.from_domain(user)


@router.delete("/auth/me", status_code=204, responses={204: RECEIPT_LOCATION, 403: {}})
async def delete_current_user(
    body: DeleteAccountRequest,
    caller: CurrentUser,
    deps: AuthDeps,
    client: Client,
    response: Response,
) -> None:
    """Delete the account and all its data. Cannot be undone.

    `Location` names the receipt, which shows when each service has deleted its data.
    """
    receipt_id = await accounts.delete_me(deps, caller, client, password=body.password)
    response.headers["location"] = receipt_path(receipt_id)


@router.post("/auth/password/forgot", status_code=202)
async def forgot_password(
    body: ForgotPasswordRequest, deps: AuthDeps, client: Client
) -> MessageResponse:
    """Send a password reset mail.

    The response is the same, after the same time, whether or not the account exists.
    """
    await recovery.request_password_reset(deps, client, email=body.email)
    return MessageResponse(message="If the account exists, a mail is on its way.")


@router.post("/auth/password/reset", status_code=204)
async def reset_password(body: ResetPasswordRequest, deps: AuthDeps, client: Client) -> None:
    """Set a new password with the token from a mail. Signs out all devices."""
    await recovery.reset_password(deps, client, token=body.token, new_password=body.new_password)


@router.post("/auth/verify", status_code=204)
async def verify_email(body: TokenRequest, deps: AuthDeps, client: Client) -> None:
    """Confirm the e-mail address with the token from a mail."""
    await recovery.verify_email(deps, client, token=body.token)


@router.post("/auth/verify/resend", status_code=202)
async def resend_verification(caller: CurrentUser, deps: AuthDeps) -> MessageResponse:
    """Send the verification mail again, unless the e-mail address is confirmed."""
    await recovery.request_verification(deps, caller)
    return MessageResponse(message="If the address is not confirmed, a mail is on its way.")


@router.post("/auth/email/undo", status_code=204)
async def undo_email_change(body: TokenRequest, deps: AuthDeps, client: Client) -> None:
    """Restore the former e-mail address with the token from a mail.

    Signs out all devices and invalidates the password. A password reset mail follows.
    """
    await recovery.undo_email_change(deps, client, token=body.token)


@router.get("/auth/logins")
async def list_logins(caller: CurrentUser, deps: AuthDeps) -> DeviceList:
    """List signed-in devices, most recently used first (at most 100)."""
    return DeviceList.from_domain(
        await logins.list_logins(deps, caller), current_login_id=caller.login_id
    )


@router.delete("/auth/logins/{login_id}", status_code=204)
async def revoke_login(login_id: str, caller: CurrentUser, deps: AuthDeps) -> None:
    """Sign out one device. Takes effect within one second."""
    await logins.revoke_login(deps, caller, parse_id(login_id, not_found=LoginNotFound))


@router.get("/.well-known/jwks.json")
async def get_jwks(deps: AuthDeps) -> JsonWebKeySet:
    """Return the public keys (JWKS) that verify access tokens."""
    keys = await signing_keys.get_jwks(deps)
    return JsonWebKeySet(keys=[JsonWebKey.model_validate(key) for key in keys])


@router.get("/internal/revocations", dependencies=[RequireServiceToken], include_in_schema=False)
async def list_revocations(
    deps: AuthDeps, after: Annotated[str | None, Query(max_length=80)] = None
) -> RevocationsResponse:
    """Return revocations after the cursor, each until no access token of the login can be valid."""
    cursor = RevocationCursor.parse(after) if after else None
    return RevocationsResponse.from_domain(await logins.list_revocations(deps, cursor))
