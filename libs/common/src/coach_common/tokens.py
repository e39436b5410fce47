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

from coach_common.clock import Clock, utc_now
from coach_common.config import TokenSettings
from coach_common.errors import CoachError, Unauthenticated, Unavailable
from coach_common.http.client import fetch_json
from coach_common.identity import Identity

PublicKeys = Mapping[str, Any]
"""`kid` to an RSA public key."""

TOKEN_TYPE = "at+jwt"  # noqa: S105 # nosec B105 # a name of RFC 9068
ALGORITHM = "RS256"
JWKS_PATH = "/.well-known/jwks.json"
REQUIRED_CLAIMS = ("iss", "aud", "sub", "sid", "jti", "iat", "exp", "type")

_LEEWAY_SECONDS = 10
_LONGEST = 8 * 1024
_TRUSTED_HEADERS = frozenset({"alg", "kid", "typ"})
_CACHED = 10_000
_FRESH_SECONDS = 60.0
_RELOAD_SECONDS = 5.0


class TokenReader:
    """Turns an access token into an Identity, or refuses it.

    A token that passed is remembered by its digest until it expires: verifying RS256 costs
    67 times a look-up. Revocation is not decided here.
    """

    def __init__(
        self,
        keys: Callable[[str], Awaitable[PublicKeys]],
        *,
        issuer: str,
        audience: str,
        clock: Clock = utc_now,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._passed: OrderedDict[bytes, Identity] = OrderedDict()

    @classmethod
    def of(
        cls, settings: TokenSettings, keys: Callable[[str], Awaitable[PublicKeys]] | None = None
    ) -> Self:
        """Return a reader as the settings name issuer and audience; keys from auth's JWKS."""
        return cls(
            keys or JwksKeys(partial(fetch_json, f"{settings.auth_url}{JWKS_PATH}")),
            issuer=settings.token_issuer,
            audience=settings.token_audience,
        )

    async def read(self, token: str) -> Identity:
        """Return who the token speaks for.

        Raises Unauthenticated for anything but a valid access token, Unavailable where the
        keys to check it with cannot be had.
        """
        identity = self.known(token)
        if identity is None:
            identity = await self._verify(token)
            self._check_time(identity)
            self._passed[_digest(token)] = identity
            if len(self._passed) > _CACHED:
                self._passed.popitem(last=False)
        return identity

    def known(self, token: str) -> Identity | None:
        """Return who a token speaks for that passed before; Unauthenticated once it expired."""
        identity = self._passed.get(_digest(token))
        if identity is not None:
            self._check_time(identity)
        return identity

    def _check_time(self, identity: Identity) -> None:
        if self._clock() >= identity.expires_at:
            raise Unauthenticated("The access token has expired.", code="token_expired")

    async def _verify(self, token: str) -> Identity:
        key = await self._key(token)
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
            raise _refused() from None

    async def _key(self, token: str) -> Any:
        if len(token) > _LONGEST or token.count(".") != 2 or not token.isascii():
            raise _refused()
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise _refused() from None
        kid = header.get("kid")
        # Nothing else in a header is obeyed: jku, jwk, x5u, crit and b64 have no place here.
        if (
            set(header) != _TRUSTED_HEADERS
            or header["typ"] != TOKEN_TYPE
            or header["alg"] != ALGORITHM
            or not isinstance(kid, str)
        ):
            raise _refused()
        key = (await self._keys(kid)).get(kid)
        if key is None:
            raise _refused()
        return key


class JwksKeys:
    """Auth's public keys as its JWKS tells them, kept a minute and beyond while auth is away."""

    def __init__(self, fetch: Callable[[], Awaitable[Any]]) -> None:
        self._fetch = fetch
        self._keys: PublicKeys = {}
        self._loaded_at = float("-inf")
        self._loading = asyncio.Lock()

    async def __call__(self, kid: str) -> PublicKeys:
        """Return the keys; an unknown `kid` asks again, at most once in 5 s."""
        pause = _FRESH_SECONDS if kid in self._keys else _RELOAD_SECONDS
        if time.monotonic() - self._loaded_at > pause:
            async with self._loading:
                if time.monotonic() - self._loaded_at > pause:
                    await self._load()
        return self._keys

    async def _load(self) -> None:
        try:
            document = await self._fetch()
        except CoachError:
            if not self._keys:
                raise Unavailable("Sign-in is away. Please try again.") from None
        else:
            self._keys = {jwk["kid"]: jwt.PyJWK(jwk).key for jwk in document["keys"]}
        self._loaded_at = time.monotonic()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _identity(claims: Mapping[str, Any]) -> Identity:
    for name in ("exp", "iat"):
        if type(claims[name]) is not int:
            raise _refused()
    if claims["type"] != "access" or not isinstance(claims["jti"], str):
        raise _refused()
    return Identity(
        user_id=UUID(claims["sub"]),
        login_id=UUID(claims["sid"]),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        scopes=frozenset(str(claims.get("scope", "")).split()),
    )


def _refused() -> Unauthenticated:
    return Unauthenticated("The access token is not valid.", code="token_invalid")
