"""Authentication: access tokens, revoked logins and client addresses."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from prometheus_client import Gauge

from coach_common import logs
from coach_common.clock import Clock
from coach_common.errors import CoachError, Unauthenticated, Unavailable
from coach_common.identity import Identity
from coach_common.tokens import AccessTokenVerifier

log = logs.get_logger(__name__)

REVOKED_LOGINS = Gauge("coach_gateway_revoked_logins", "Revoked logins in memory.")

_POLL_INTERVAL_SECONDS = 0.5
_MAX_STALENESS_SECONDS = 3.0
_PAGE_SIZE = 1000
"""A page of an auth without `has_more` that is this long may be followed by another."""


FetchAuthJson = Callable[[str], Awaitable[Any]]
"""Fetches a path from auth as JSON. Raises Unavailable if no replica responds."""


class RevocationList:
    """Revoked login ids, polled from auth every 500 ms.

    Fails closed: after two failed polls every authenticated request gets 503. Revocation is
    permanent, so membership is enough.
    """

    def __init__(self, fetch_auth_json: FetchAuthJson, clock: Clock) -> None:
        self._fetch_auth_json = fetch_auth_json
        self._clock = clock
        self._expires_at_by_login: dict[UUID, datetime] = {}
        self._cursor = ""
        self._failures = 0
        self._polled_at = float("-inf")
        self.on_revoked: Callable[[set[UUID]], None] = lambda _: None

    async def poll_forever(self) -> None:
        """Poll until cancelled."""
        while True:
            started_at = time.monotonic()
            try:
                await self.poll_once()
                self._failures = 0
            except CoachError:
                self._failures += 1
                if self._failures == 2:
                    log.error("revocations.unavailable")
            # Poll sooner after a failure, so that a revocation still takes effect within a second.
            interval = _POLL_INTERVAL_SECONDS if self._failures == 0 else _POLL_INTERVAL_SECONDS / 2
            await asyncio.sleep(max(0.0, interval - (time.monotonic() - started_at)))

    async def poll_once(self) -> None:
        """Fetch all pages of revocations since the last poll.

        The list counts as current only after the last page, so a replica that starts is not ready
        before it knows every revocation.
        """
        has_more = True
        while has_more:
            started_at = time.monotonic()
            page = await self._fetch_auth_json(f"/internal/revocations?after={self._cursor}")
            is_new = self._apply(page["revoked"]) or page["cursor"] != self._cursor
            self._cursor = page["cursor"]
            is_full = len(page["revoked"]) >= _PAGE_SIZE
            # A full page without news cannot be followed by another: the next poll asks again.
            has_more = page.get("has_more", is_full) and is_new
        self._polled_at = started_at

    def _apply(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Add revocations and drop expired ones. Returns whether any was new."""
        received = {
            UUID(row["login_id"]): datetime.fromisoformat(row["expires_at"]) for row in rows
        }
        newly_revoked = received.keys() - self._expires_at_by_login.keys()
        now = self._clock()
        self._expires_at_by_login = {
            login_id: at
            for login_id, at in (self._expires_at_by_login | received).items()
            if at > now
        }
        REVOKED_LOGINS.set(len(self._expires_at_by_login))
        if newly_revoked:
            self.on_revoked(set(newly_revoked))
        return bool(newly_revoked)

    def ensure_active(self, login_id: UUID) -> None:
        """Raise Unauthenticated if the login is revoked, Unavailable if that is unknown."""
        if login_id in self._expires_at_by_login:
            raise Unauthenticated(
                "You have been signed out. Please sign in again.", code="login_ended"
            )
        if self._is_stale():
            raise Unavailable(
                "Sign-in is temporarily unavailable. Please try again.", retry_after_seconds=1
            )

    async def check_health(self) -> None:
        """Raise Unavailable if the list is stale."""
        if self._is_stale():
            raise Unavailable("cannot read revocations from auth")

    def _is_stale(self) -> bool:
        age_seconds = time.monotonic() - self._polled_at
        return self._failures >= 2 or age_seconds > _MAX_STALENESS_SECONDS


class Authenticator:
    """Verifies access tokens."""

    def __init__(self, verifier: AccessTokenVerifier, revocations: RevocationList) -> None:
        self._verifier = verifier
        self._revocations = revocations

    async def authenticate(self, token: str) -> Identity:
        """Return the caller of a token.

        Raises:
            Unauthenticated: If the token is invalid, expired or revoked.
            Unavailable: If auth is unavailable and the token cannot be checked.
        """
        identity = await self._verifier.verify(token)
        self._revocations.ensure_active(identity.login_id)
        return identity


def parse_bearer(header: bytes | None) -> str:
    """Return the token of an Authorization header. Raises Unauthenticated if there is none."""
    if header is None:
        raise Unauthenticated("Please sign in.", code="token_missing")
    scheme, _, token = header.partition(b" ")
    if scheme.lower() != b"bearer" or not token:
        raise Unauthenticated("Please sign in.", code="token_missing")
    return token.decode("latin-1").strip()
