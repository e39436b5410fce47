"""Verification of access tokens by RFC 8725 and RFC 9068.

This module and coach_auth.keys, which signs, are the only ones that import jwt.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self
from uuid import UUID

import jwt

from coach_common import logs
from coach_common.clock import Clock, utc_now
from coach_common.config import TokenSettings
from coach_common.credentials import token_digest
from coach_common.errors import CoachError, Unauthenticated, Unavailable
from coach_common.http.client import fetch_json
from coach_common.identity import Identity

log = logs.get_logger(__name__)

PublicKeys = Mapping[str, Any]
"""`kid` to an RSA public key."""

TOKEN_TYPE = "at+jwt"  # noqa: S105 # a media type, RFC 9068
ALGORITHM = "RS256"
JWKS_PATH = "/.well-known/jwks.json"
REQUIRED_CLAIMS = ("iss", "aud", "sub", "sid", "jti", "iat", "exp", "type")

_LEEWAY_SECONDS = 10
_MAX_TOKEN_LENGTH = 8 * 1024
_ALLOWED_HEADERS = frozenset({"alg", "kid", "typ"})
_MAX_CACHED_TOKENS = 10_000
_TOKEN_CACHE_SECONDS = 30.0
_JWKS_MAX_AGE_SECONDS = 60.0
_JWKS_MIN_REFRESH_INTERVAL_SECONDS = 5.0
_JWKS_RETRY_SECONDS = 0.5
"""After a failed refresh: without keys every request with a token fails."""
_CACHE_MISS = (0.0, None)


class AccessTokenVerifier:
    """Verifies access tokens and returns the Identity they contain.

    A verified token is cached by its digest for 30 s, because verifying RS256 takes 67 times as
    long as a lookup. Then it is verified again, so a token whose key was removed is rejected.
    Revocation is checked elsewhere.
    """

    def __init__(
        self,
        keys: Callable[[str], Awaitable[PublicKeys]],
        *,
        issuer: str,
        audience: str,
        clock: Clock = utc_now,
        cache_seconds: float = _TOKEN_CACHE_SECONDS,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._verified: OrderedDict[bytes, tuple[float, Identity]] = OrderedDict()

    @classmethod
    def from_settings(
        cls,
        settings: TokenSettings,
        keys: Callable[[str], Awaitable[PublicKeys]] | None = None,
        *,
        cache_seconds: float = _TOKEN_CACHE_SECONDS,
    ) -> Self:
        """Return a verifier for the settings. Without `keys` it uses the JWKS of auth."""
        return cls(
            keys or JwksCache(partial(fetch_json, f"{settings.auth_url}{JWKS_PATH}")),
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            cache_seconds=cache_seconds,
        )

    async def verify(self, token: str) -> Identity:
        """Return the identity in a valid access token.

        Raises:
            Unauthenticated: If the token is not valid or has expired.
            Unavailable: If the keys cannot be fetched.
        """
        digest = token_digest(token)
        identity = self.get_cached(digest)
        if identity is None:
            identity = await self._verify(token)
            self._check_expiry(identity)
            until = time.monotonic() + self._cache_seconds
            self._verified[digest] = (until, identity)
            if len(self._verified) > _MAX_CACHED_TOKENS:
                self._verified.popitem(last=False)
        return identity

    def get_cached(self, digest: bytes) -> Identity | None:
        """Return the cached identity of a verified token, or None if it is not cached.

        Raises:
            Unauthenticated: If the token has expired.
        """
        until, identity = self._verified.get(digest, _CACHE_MISS)
        if identity is None or time.monotonic() >= until:
            return None
        self._check_expiry(identity)
        return identity

    def _check_expiry(self, identity: Identity) -> None:
        if self._clock() >= identity.expires_at:
            raise Unauthenticated("The access token has expired.", code="token_expired")

    async def _verify(self, token: str) -> Identity:
        key = await self._find_key(token)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": list(REQUIRED_CLAIMS), "strict_aud": True},
            )
            return _identity(claims)
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The access token has expired.", code="token_expired") from None
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
            raise _invalid_token() from None

    async def _find_key(self, token: str) -> Any:
        if len(token) > _MAX_TOKEN_LENGTH or token.count(".") != 2 or not token.isascii():
            raise _invalid_token()
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise _invalid_token() from None
        kid = header.get("kid")
        # All other header parameters are rejected, among them jku, jwk, x5u, crit and b64.
        if (
            set(header) != _ALLOWED_HEADERS
            or header["typ"] != TOKEN_TYPE
            or header["alg"] != ALGORITHM
            or not isinstance(kid, str)
        ):
            raise _invalid_token()
        key = (await self._keys(kid)).get(kid)
        if key is None:
            raise _invalid_token()
        return key


class JwksCache:
    """Cached JWKS of the auth service.

    Keys older than 60 s are refreshed in the background. Keys older than 80 s block the caller
    until the refresh has finished, so a removed key is trusted for at most 80 s. If auth is
    unavailable, the last known keys stay in use.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Any]],
        *,
        max_age_seconds: float = _JWKS_MAX_AGE_SECONDS,
        min_refresh_interval_seconds: float = _JWKS_MIN_REFRESH_INTERVAL_SECONDS,
    ) -> None:
        self._fetch = fetch
        self._max_age_seconds = max_age_seconds
        self._min_refresh_interval_seconds = min_refresh_interval_seconds
        self._keys: PublicKeys = {}
        self._refreshed_at = self._next_attempt_at = float("-inf")
        self._refresh_task: asyncio.Task[None] | None = None

    async def __call__(self, kid: str) -> PublicKeys:
        """Return the keys. An unknown `kid` causes a refresh, at most every 5 s.

        After a failed refresh the next one may begin after 0.5 s.
        """
        now = time.monotonic()
        age = now - self._refreshed_at
        if kid in self._keys and age < self._max_age_seconds:
            return self._keys
        if self._refresh_task is None and now > self._next_attempt_at:
            self._refresh_task = asyncio.create_task(self._refresh(), name="jwks")
        if self._refresh_task is not None and (
            kid not in self._keys
            or age > self._max_age_seconds + 4 * self._min_refresh_interval_seconds
        ):
            await asyncio.shield(self._refresh_task)
        if not self._keys:
            raise Unavailable("Sign-in is temporarily unavailable. Please try again.")
        return self._keys

    async def _refresh(self) -> None:
        try:
            document = await self._fetch()
            self._keys = {jwk["kid"]: jwt.PyJWK(jwk).key for jwk in document["keys"]}
            self._refreshed_at = time.monotonic()
            self._next_attempt_at = self._refreshed_at + self._min_refresh_interval_seconds
        except (CoachError, ValueError, KeyError, TypeError, jwt.PyJWTError):
            log.warning("jwks.fetch_failed")
            retry_seconds = min(_JWKS_RETRY_SECONDS, self._min_refresh_interval_seconds)
            self._next_attempt_at = time.monotonic() + retry_seconds
        finally:
            self._refresh_task = None


def _identity(claims: Mapping[str, Any]) -> Identity:
    for name in ("exp", "iat"):
        if type(claims[name]) is not int:
            raise _invalid_token()
    if claims["type"] != "access" or not isinstance(claims["jti"], str):
        raise _invalid_token()
    return Identity(
        user_id=UUID(claims["sub"]),
        login_id=UUID(claims["sid"]),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        scopes=frozenset(str(claims.get("scope", "")).split()),
    )


def _invalid_token() -> Unauthenticated:
    return Unauthenticated("The access token is not valid.", code="token_invalid")
