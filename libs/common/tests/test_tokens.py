"""Where a verifier has its keys from, and what happens to remembered tokens when they go."""

import asyncio
from typing import Any

import pytest
from jwt.algorithms import RSAAlgorithm

from coach_common.errors import Unauthenticated, Unavailable
from coach_common.ids import new_id
from coach_common.testing.fakes import AUDIENCE, ISSUER, TokenIssuer
from coach_common.tokens import JwksKeys, TokenReader, digest_of


class Auth:
    """A JWKS that changes, and may be away."""

    def __init__(self, issuer: TokenIssuer) -> None:
        jwk = RSAAlgorithm.to_jwk(issuer.private_key.public_key(), as_dict=True)
        self.keys = [jwk | {"kid": issuer.kid, "alg": "RS256"}]
        self.is_away = False
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def fetch(self) -> Any:
        self.asked += 1
        await self.answers.wait()
        if self.is_away:
            raise Unavailable("away")
        return {"keys": self.keys}


@pytest.fixture
def auth(issuer: TokenIssuer) -> Auth:
    return Auth(issuer)


def _reader(
    auth: Auth,
    *,
    fresh_seconds: float = 0.0,
    pause_seconds: float = 0.0,
    remembered_seconds: float = 0.0,
) -> TokenReader:
    keys = JwksKeys(auth.fetch, fresh_seconds=fresh_seconds, pause_seconds=pause_seconds)
    return TokenReader(
        keys, issuer=ISSUER, audience=AUDIENCE, remembered_seconds=remembered_seconds
    )


async def test_a_remembered_token_is_refused_once_its_key_has_left(
    auth: Auth, issuer: TokenIssuer
) -> None:
    reader, user_id = _reader(auth), new_id()
    token = issuer.issue(user_id)
    passed = [await reader.read(token), await reader.read(token)]
    auth.keys = [auth.keys[0] | {"kid": "the next one"}]

    assert [identity.user_id for identity in passed] == [user_id, user_id]
    with pytest.raises(Unauthenticated):
        await reader.read(token)


async def test_a_token_that_passed_is_known_without_waiting_while_it_is_remembered(
    auth: Auth, issuer: TokenIssuer
) -> None:
    remembering, forgetting = _reader(auth, remembered_seconds=600), _reader(auth)
    token = issuer.issue(new_id())

    assert remembering.known(digest_of(token)) is None
    read = [await remembering.read(token), await forgetting.read(token)]
    assert remembering.known(digest_of(token)) == read[0] == read[1]
    assert forgetting.known(digest_of(token)) is None


async def test_tokens_pass_while_auth_is_away_with_the_keys_it_told_last(
    auth: Auth, issuer: TokenIssuer
) -> None:
    reader = _reader(auth)
    token = issuer.issue(new_id())
    await reader.read(token)
    auth.is_away = True

    assert await reader.read(token)
    assert await reader.read(issuer.issue(new_id()))


async def test_without_any_keys_nobody_is_refused_as_if_the_token_were_bad(
    auth: Auth, issuer: TokenIssuer
) -> None:
    auth.is_away = True

    with pytest.raises(Unavailable):
        await _reader(auth).read(issuer.issue(new_id()))


async def test_many_callers_have_the_keys_fetched_once(auth: Auth, issuer: TokenIssuer) -> None:
    reader = _reader(auth, fresh_seconds=600, pause_seconds=600)
    auth.answers.clear()
    reading = [asyncio.create_task(reader.read(issuer.issue(new_id()))) for _ in range(20)]
    await asyncio.sleep(0)
    auth.answers.set()
    await asyncio.gather(*reading)

    assert auth.asked == 1


async def test_an_unknown_key_id_asks_again_and_not_for_every_token(
    auth: Auth, issuer: TokenIssuer
) -> None:
    reader = _reader(auth, fresh_seconds=600, pause_seconds=600)
    await reader.read(issuer.issue(new_id()))
    for number in range(5):
        with pytest.raises(Unauthenticated):
            await reader.read(issuer.issue(new_id(), headers={"kid": f"unknown {number}"}))

    assert auth.asked == 1
