"""Fakes: a clock to set, a transport that records, an issuer of access tokens."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from coach_common.ids import new_id
from coach_common.messaging.subscriptions import OutboxMessage, Subscription
from coach_common.tokens import ALGORITHM, TOKEN_TYPE, AccessTokenVerifier, PublicKeys

ISSUER = "genai-coach"
AUDIENCE = "genai-coach-api"


class FakeClock:
    """A clock that stands still until it is advanced."""

    def __init__(self, at: datetime = datetime(2026, 11, 24, 12, tzinfo=UTC)) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.at += timedelta(seconds=seconds)


class FakeTransport:
    """A Transport that records published events and delivers nothing."""

    def __init__(self) -> None:
        self.published: list[OutboxMessage] = []
        self.subscriptions: list[Subscription] = []

    async def start(self, subscriptions: Sequence[Subscription]) -> None:
        self.subscriptions.extend(subscriptions)

    async def publish(self, events: Sequence[OutboxMessage]) -> set[UUID]:
        self.published.extend(events)
        return {event.id for event in events}

    async def check(self) -> None:
        return None

    async def stop(self) -> None:
        return None


class TokenIssuer:
    """Signs access tokens like auth, with its own key; `verifier` accepts them."""

    def __init__(self) -> None:
        self.private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.kid = "test"

    async def keys(self, _: str) -> PublicKeys:
        """Return the public keys for an AccessTokenVerifier."""
        return {self.kid: self.private_key.public_key()}

    @property
    def verifier(self) -> AccessTokenVerifier:
        """Return a verifier that accepts these tokens."""
        return AccessTokenVerifier(self.keys, issuer=ISSUER, audience=AUDIENCE)

    def claims(self, user_id: UUID, **changed: Any) -> dict[str, Any]:
        """Return the claims of a valid token. A claim changed to None is omitted."""
        now = int(datetime.now(UTC).timestamp())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(new_id()),
            "jti": str(new_id()),
            "iat": now,
            "exp": now + 1800,
            "type": "access",
            "scope": "",
        } | changed
        return {name: value for name, value in claims.items() if value is not None}

    def issue(self, user_id: UUID, *, headers: dict[str, Any] | None = None, **changed: Any) -> str:
        """Return a signed access token for `user_id`."""
        return jwt.encode(
            self.claims(user_id, **changed),
            self.private_key,
            ALGORITHM,
            headers={"kid": self.kid, "typ": TOKEN_TYPE} | (headers or {}),
        )

    def bearer(self, user_id: UUID) -> dict[str, str]:
        """Return the Authorization header of a valid token."""
        return {"authorization": f"Bearer {self.issue(user_id)}"}
