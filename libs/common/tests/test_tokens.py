"""Keys of a token verifier, and cached tokens after a key was removed."""

import asyncio
from typing import Any

import pytest
from jwt.algorithms import RSAAlgorithm

from coach_common.credentials import token_digest
from coach_common.errors import Unauthenticated, Unavailable
from coach_common.ids import new_id
from coach_common.testing.fakes import AUDIENCE, ISSUER, TokenIssuer
from coach_common.testing.harness import wait_until
from coach_common.tokens import AccessTokenVerifier, JwksCache


class FakeJwksEndpoint:
    """A JWKS that changes and can be unavailable."""

    def __init__(self, issuer: TokenIssuer) -> None:
        jwk = RSAAlgorithm.to_jwk(issuer.private_key.public_key(), as_dict=True)
        self.keys = [jwk | {"kid": issuer.kid, "alg": "RS256"}]
        self.is_down = False
        self.fetch_count = 0
        self.may_respond = asyncio.Event()
        self.may_respond.set()

    async def fetch(self) -> Any:
        self.fetch_count += 1
        await self.may_respond.wait()
        if self.is_down:
            raise Unavailable("unavailable")
        return {"keys": self.keys}


@pytest.fixture
def auth(issuer: TokenIssuer) -> FakeJwksEndpoint:
    return FakeJwksEndpoint(issuer)


def _reader(
    auth: FakeJwksEndpoint,
    *,
    max_age_seconds: float = 0.0,
    min_refresh_interval_seconds: float = 0.0,
    cache_seconds: float = 0.0,
) -> AccessTokenVerifier:
    keys = JwksCache(
        auth.fetch,
        max_age_seconds=max_age_seconds,
        min_refresh_interval_seconds=min_refresh_interval_seconds,
    )
    return AccessTokenVerifier(keys, issuer=ISSUER, audience=AUDIENCE, cache_seconds=cache_seconds)


async def test_cached_token_is_rejected_after_its_key_is_removed(
    auth: FakeJwksEndpoint, issuer: TokenIssuer
) -> None:
    reader, user_id = _reader(auth), new_id()
    token = issuer.issue(user_id)
    passed = [await reader.verify(token), await reader.verify(token)]
    auth.keys = [auth.keys[0] | {"kid": "the next one"}]

    assert [identity.user_id for identity in passed] == [user_id, user_id]
    with pytest.raises(Unauthenticated):
        await reader.verify(token)


async def test_verified_token_is_served_from_cache_until_it_expires(
    auth: FakeJwksEndpoint, issuer: TokenIssuer
) -> None:
    remembering, forgetting = _reader(auth, cache_seconds=600), _reader(auth)
    token = issuer.issue(new_id())

    assert remembering.get_cached(token_digest(token)) is None
    read = [await remembering.verify(token), await forgetting.verify(token)]
    assert remembering.get_cached(token_digest(token)) == read[0] == read[1]
    assert forgetting.get_cached(token_digest(token)) is None


async def test_last_known_keys_are_used_while_auth_is_down(
    auth: FakeJwksEndpoint, issuer: TokenIssuer
) -> None:
    reader = _reader(auth)
    token = issuer.issue(new_id())
    await reader.verify(token)
    auth.is_down = True

    assert await reader.verify(token)
    assert await reader.verify(issuer.issue(new_id()))


async def test_no_keys_raises_unavailable_not_unauthenticated(
    auth: FakeJwksEndpoint, issuer: TokenIssuer
) -> None:
    auth.is_down = True

    with pytest.raises(Unavailable):
        await _reader(auth).verify(issuer.issue(new_id()))


async def test_failed_fetch_is_repeated_sooner_than_a_refresh(
    auth: FakeJwksEndpoint, issuer: TokenIssuer
) -> None:
    reader = _reader(auth, min_refresh_interval_seconds=600)
    token = issuer.issue(new_id())
    auth.is_down = True
    with pytest.raises(Unavailable):
        await reader.verify(token)
    auth.is_down = False

    async def is_verified() -> bool:
        try:
            await reader.verify(token)
        except Unavailable:
            return False
        return True

    await wait_until(is_verified, description="keys after a failed fetch")


async def test_concurrent_verifications_fetch_jwks_once(
    auth: FakeJwksEndpoint, issuer: TokenIssuer
) -> None:
    reader = _reader(auth, max_age_seconds=600, min_refresh_interval_seconds=600)
    auth.may_respond.clear()
    reading = [asyncio.create_task(reader.verify(issuer.issue(new_id()))) for _ in range(20)]
    await asyncio.sleep(0)
    auth.may_respond.set()
    await asyncio.gather(*reading)

    assert auth.fetch_count == 1


async def test_unknown_kid_refetches_jwks_at_most_once_per_interval(
    auth: FakeJwksEndpoint, issuer: TokenIssuer
) -> None:
    reader = _reader(auth, max_age_seconds=600, min_refresh_interval_seconds=600)
    await reader.verify(issuer.issue(new_id()))
    for number in range(5):
        with pytest.raises(Unauthenticated):
            await reader.verify(issuer.issue(new_id(), headers={"kid": f"unknown {number}"}))

    assert auth.fetch_count == 1
