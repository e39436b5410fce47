"""The dependency of all routes that applies the caller's consent to an outside provider."""

from fastapi.requests import HTTPConnection

from coach_ai.consent import set_outside_provider_allowed
from coach_ai.deps import Deps
from coach_ai.use_cases.consent import apply_consent
from coach_common.errors import Unauthenticated, Unavailable
from coach_common.http.dependencies import get_app_state


async def apply_consent_of_caller(connection: HTTPConnection) -> None:
    """Allow or forbid the outside provider for the rest of this request.

    A request without a valid access token is forbidden it. Its route decides whether it is served.
    """
    state = get_app_state(connection.app)
    deps = state.deps
    if not isinstance(deps, Deps) or not deps.consent.has_outside_provider:
        return
    set_outside_provider_allowed(False)
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        return
    try:
        caller = await state.tokens.verify(token.strip())
    except (Unauthenticated, Unavailable):
        return
    await apply_consent(deps, caller.user_id)
