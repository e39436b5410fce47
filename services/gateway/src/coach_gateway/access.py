"""Authentication: access tokens, revoked logins and client addresses."""

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Sequence
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
                async with asyncio.timeout(_POLL_INTERVAL_SECONDS * 2):
                    await self.poll_once()
            except (CoachError, TimeoutError):
                self._failures += 1
                if self._failures == 2:
                    log.error("revocations.unavailable")
            # Poll sooner after a failure, so that a revocation still takes effect within a second.
            interval = _POLL_INTERVAL_SECONDS if self._failures == 0 else _POLL_INTERVAL_SECONDS / 2
            await asyncio.sleep(max(0.0, interval - (time.monotonic() - started_at)))

    async def poll_once(self) -> None:
        """Fetch the revocations since the last poll."""
        response = await self._fetch_auth_json(f"/internal/revocations?after={self._cursor}")
        expires_at_by_login = {
            UUID(row["login_id"]): datetime.fromisoformat(row["expires_at"])
            for row in response["revoked"]
        }
        newly_revoked = expires_at_by_login.keys() - self._expires_at_by_login.keys()
        now = self._clock()
        self._expires_at_by_login = {
            login_id: at
            for login_id, at in (self._expires_at_by_login | expires_at_by_login).items()
            if at > now
        }
        self._cursor = response["cursor"]
        self._failures = 0
        self._polled_at = time.monotonic()
        REVOKED_LOGINS.set(len(self._expires_at_by_login))
        if newly_revoked:
            self.on_revoked(set(newly_revoked))

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


class TrustedProxies:
    """Networks whose X-Forwarded-For is used."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def client_address(self, peer: str, forwarded_for: str | None) -> str:
        """Return the right-most address that is not a trusted proxy."""
        if not self._networks or not self._is_trusted_proxy(peer):
            return peer
        for part in reversed((forwarded_for or "").split(",")):
            address = part.strip()
            if address and not self._is_trusted_proxy(address):
                return address if _is_ip_address(address) else peer
        return peer

    def _is_trusted_proxy(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
