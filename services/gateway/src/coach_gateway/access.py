"""Who may pass: tokens are checked, and logins that ended are known within a second."""

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

ENDED_LOGINS = Gauge("coach_gateway_ended_logins", "Ended logins that are remembered.")

_POLL_SECONDS = 0.5
_STALE_SECONDS = 1.5


AskAuth = Callable[[str], Awaitable[Any]]
"""Path to JSON, from any replica of auth; Unavailable where none answers."""


class EndedLogins:
    """The logins that ended, as auth tells every 500 ms. Fails closed.

    A family that ended never lives again, so this is a set and no clocks are compared.
    """

    def __init__(self, ask: AskAuth, clock: Clock) -> None:
        self._ask_auth = ask
        self._clock = clock
        self._ended: dict[UUID, datetime] = {}
        self._cursor = ""
        self._failures = 0
        self._asked_at = float("-inf")
        self.on_ended: Callable[[set[UUID]], None] = lambda _: None

    async def follow(self) -> None:
        """Ask for ever."""
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(_POLL_SECONDS * 2):
                    await self.ask()
            except (CoachError, TimeoutError):
                self._failures += 1
                if self._failures == 2:
                    log.error("ended_logins.unknown")
            # After a failure sooner: whoever closes and opens again has a second in all.
            pause = _POLL_SECONDS if self._failures == 0 else _POLL_SECONDS / 2
            await asyncio.sleep(max(0.0, pause - (time.monotonic() - began)))

    async def ask(self) -> None:
        """Ask once."""
        answer = await self._ask_auth(f"/internal/revocations?after={self._cursor}")
        known = {
            UUID(row["login_id"]): datetime.fromisoformat(row["expires_at"])
            for row in answer["revoked"]
        }
        fresh = known.keys() - self._ended.keys()
        now = self._clock()
        self._ended = {login_id: at for login_id, at in (self._ended | known).items() if at > now}
        self._cursor = answer["cursor"]
        self._failures = 0
        self._asked_at = time.monotonic()
        ENDED_LOGINS.set(len(self._ended))
        if fresh:
            self.on_ended(set(fresh))

    def check(self, login_id: UUID) -> None:
        """Raise Unauthenticated for an ended login, Unavailable where that is not known."""
        if login_id in self._ended:
            raise Unauthenticated(
                "You have been signed out. Please sign in again.", code="login_ended"
            )
        if self._failures >= 2 or time.monotonic() - self._asked_at > _STALE_SECONDS * 2:
            raise Unavailable(
                "Sign-in is temporarily unavailable. Please try again.", retry_after_seconds=1
            )

    async def ready(self) -> None:
        """What readiness asks."""
        if self._failures >= 2 or time.monotonic() - self._asked_at > _STALE_SECONDS * 2:
            raise Unavailable("auth does not tell which logins ended")


class Access:
    """Turns a token into an Identity that may pass."""

    def __init__(self, tokens: AccessTokenVerifier, ended: EndedLogins) -> None:
        self._tokens = tokens
        self._ended = ended

    def known(self, digest: bytes) -> Identity | None:
        """Return a caller whose token passed before and may pass now, without waiting."""
        identity = self._tokens.get_cached(digest)
        if identity is not None:
            self._ended.check(identity.login_id)
        return identity

    async def authenticate(self, token: str) -> Identity:
        """Return the caller; Unauthenticated or Unavailable where it may not pass."""
        identity = await self._tokens.verify(token)
        self._ended.check(identity.login_id)
        return identity


def bearer_of(header: bytes | None) -> str:
    """Return the token of an Authorization header; Unauthenticated without one."""
    if header is None:
        raise Unauthenticated("Please sign in.", code="token_missing")
    scheme, _, token = header.partition(b" ")
    if scheme.lower() != b"bearer" or not token:
        raise Unauthenticated("Please sign in.", code="token_missing")
    return token.decode("latin-1").strip()


class TrustedProxies:
    """Whose X-Forwarded-For is believed."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def client_address(self, peer: str, forwarded_for: str | None) -> str:
        """Return the right-most address that is not one of our own proxies."""
        if not self._networks or not self._is_ours(peer):
            return peer
        for part in reversed((forwarded_for or "").split(",")):
            address = part.strip()
            if address and not self._is_ours(address):
                return address if _is_address(address) else peer
        return peer

    def _is_ours(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
