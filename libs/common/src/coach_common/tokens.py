"""Reading access tokens: RFC 8725 and RFC 9068, with every check said out loud.

One of the two doors to the jwt library; the other, signing, is coach_auth.keys.
"""

import asyncio
import hashlib
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
from coach_common.errors import CoachError, Unauthenticated, Unavailable
from coach_common.http.client import fetch_json
from coach_common.identity import Identity

log = logs.get_logger(__name__)

PublicKeys = Mapping[str, Any]
"""`kid` to an RSA public key."""

TOKEN_TYPE = "at+jwt"  # noqa: S105 # nosec B105 # a media type, RFC 9068
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
_CACHE_MISS = (0.0, None)


class AccessTokenVerifier:
    """Turns an access token into an Identity, or refuses it.

    A token that passed is remembered by its digest for half a minute: verifying RS256 costs 67
    times a look-up. Then it is verified again, by the keys of that time: a token whose key has
    left them is refused. Revocation is not decided here.
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
        """Return a reader as the settings name issuer and audience; keys from auth's JWKS."""
        return cls(
            keys or JwksCache(partial(fetch_json, f"{settings.auth_url}{JWKS_PATH}")),
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            cache_seconds=cache_seconds,
        )

    async def verify(self, token: str) -> Identity:
        """Return who the token speaks for.

        Raises Unauthenticated for anything but a valid access token, Unavailable where the
        keys to check it with cannot be had.
        """
        digest = token_cache_key(token)
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
        """Return who a token speaks for that passed just now; Unauthenticated once it expired."""
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
        # Nothing else in a header is obeyed: jku, jwk, x5u, crit and b64 have no place here.
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
    """Auth's public keys as its JWKS tells them, and as it told them last while it is away.

    After a minute the first caller has them fetched again and does not wait; 20 s later every
    caller waits, so that a key that auth has removed is believed no longer than that.
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
        self._refreshed_at = self._last_attempt_at = float("-inf")
        self._refresh_task: asyncio.Task[None] | None = None

    async def __call__(self, kid: str) -> PublicKeys:
        """Return the keys; an unknown `kid` asks again, at most once in 5 s."""
        now = time.monotonic()
        age = now - self._refreshed_at
        if kid in self._keys and age < self._max_age_seconds:
            return self._keys
        if (
            self._refresh_task is None
            and now - self._last_attempt_at > self._min_refresh_interval_seconds
        ):
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
        self._last_attempt_at = time.monotonic()
        try:
            document = await self._fetch()
            self._keys = {jwk["kid"]: jwt.PyJWK(jwk).key for jwk in document["keys"]}
            self._refreshed_at = time.monotonic()
        except (CoachError, ValueError, KeyError, TypeError, jwt.PyJWTError):
            log.warning("jwks.fetch_failed")
        finally:
            self._refresh_task = None


def token_cache_key(token: str) -> bytes:
    """Return what a token that passed is remembered by: SHA-256."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


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
