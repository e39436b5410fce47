"""Signing keys: published, active, retired and deleted, with any number of replicas."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import httpx
import jwt
import pytest

from coach_auth.app import build
from coach_auth.config import AuthSettings
from coach_auth.deps import Deps
from coach_auth.domain import KeyState, RotationStep, SigningKeyNotFound
from coach_auth.use_cases import signing_keys
from coach_common import service as services
from coach_common.http.client import fetch_json
from coach_common.testing.fakes import FakeClock, FakeTransport
from coach_common.testing.harness import client_for, http_client, migrated_service, wait_until
from coach_common.tokens import JWKS_PATH, AccessTokenVerifier, JwksCache

PERIOD_SECONDS, LEAD_SECONDS = 30 * 86_400, 120


def _kid(answer: httpx.Response) -> str:
    kid: str = jwt.get_unverified_header(answer.json()["token"])["kid"]
    return kid


async def _jwks_kids(client: httpx.AsyncClient) -> list[str]:
    document = (await client.get(JWKS_PATH)).json()
    return [key["kid"] for key in document["keys"]]


async def _states(deps: Deps) -> dict[str, KeyState]:
    return {key.kid: key.state for key in await signing_keys.list_keys(deps)}


@asynccontextmanager
async def _replicas(
    count: int, settings: AuthSettings, clock: FakeClock
) -> AsyncIterator[list[Deps]]:
    async with AsyncExitStack() as stack:
        built = [
            await stack.enter_async_context(
                migrated_service(build(settings, FakeTransport(), clock=clock))
            )
            for _ in range(count)
        ]
        yield [one.deps for one in built]


async def test_key_is_published_before_signing_and_until_its_tokens_expire(
    deps: Deps, client: httpx.AsyncClient, phone: Any, clock: FakeClock
) -> None:
    account = {"email": "alice@example.com", "password": "correct horse"}
    (old,) = await _jwks_kids(client)
    clock.advance(PERIOD_SECONDS)
    steps = [await signing_keys.rotate_keys(deps)]
    seen = await _jwks_kids(client)
    before = await client.post("/auth/login", json=account)
    clock.advance(LEAD_SECONDS - 1)
    steps.append(await signing_keys.rotate_keys(deps))
    clock.advance(1)
    steps.append(await signing_keys.rotate_keys(deps))
    after = await client.post("/auth/login", json=account)
    both = await _jwks_kids(client)
    clock.advance(31 * 60 + 1)
    steps.append(await signing_keys.rotate_keys(deps))

    assert steps == [
        RotationStep.PUBLISH,
        RotationStep.NONE,
        RotationStep.ACTIVATE,
        RotationStep.NONE,
    ]
    assert seen == both == [old, _kid(after)]
    assert _kid(before) == old != _kid(after)
    assert await _jwks_kids(client) == [_kid(after)]


async def test_concurrent_rotation_performs_each_step_once(
    settings: AuthSettings, clock: FakeClock
) -> None:
    async with _replicas(4, settings, clock) as replicas:
        await asyncio.gather(*(signing_keys.rotate_keys(one) for one in replicas))
        first = await _states(replicas[0])
        clock.advance(PERIOD_SECONDS)
        await asyncio.gather(*(signing_keys.rotate_keys(one) for one in replicas))
        during = await _states(replicas[0])
        clock.advance(LEAD_SECONDS)
        steps = await asyncio.gather(*(signing_keys.rotate_keys(one) for one in replicas))
        last = await _states(replicas[0])
        signers = {
            (await signing_keys.get_signing_key(one)).kid
            for one, step in zip(replicas, steps, strict=True)
            if step is RotationStep.ACTIVATE
        }

    assert list(first.values()) == [KeyState.ACTIVE]
    assert list(during.values()) == [KeyState.ACTIVE, KeyState.PUBLISHED]
    assert list(last.values()) == [KeyState.RETIRED, KeyState.ACTIVE]
    assert steps.count(RotationStep.ACTIVATE) == 1
    assert signers == {list(last)[1]}


async def test_revoked_key_invalidates_its_tokens_and_clients_can_refresh(
    settings: AuthSettings, deps: Deps, phone: Any
) -> None:
    """One replica revokes the key. Another one, which has the token in its cache, rejects it."""
    quick = AuthSettings.load(**settings.model_dump() | {"signing_key_lead_seconds": 0.8})
    async with (
        migrated_service(build(quick, FakeTransport())) as other,
        client_for(other) as client,
    ):
        phone.client = client
        (stolen,) = await _jwks_kids(client)
        assert (await phone.call("GET", "/auth/me")).status_code == 200

        await signing_keys.revoke_key(deps, stolen)

        async def is_refused() -> bool:
            return (await phone.call("GET", "/auth/me")).status_code == 401  # type: ignore[no-any-return]

        await wait_until(is_refused, description="rejection of the token")
        assert stolen not in await _jwks_kids(client)
        phone.token = (await phone.refresh()).json()["token"]
        assert (await phone.call("GET", "/auth/me")).status_code == 200


async def test_revoking_active_key_activates_published_key(
    deps: Deps, client: httpx.AsyncClient, phone: Any
) -> None:
    (stolen,) = await _jwks_kids(client)
    waiting = await signing_keys.publish_key(deps)
    again = await signing_keys.publish_key(deps)

    await signing_keys.revoke_key(deps, stolen)

    assert again == waiting
    assert _kid(await phone.refresh()) == waiting.kid
    with pytest.raises(SigningKeyNotFound):
        await signing_keys.revoke_key(deps, stolen)


async def test_rotation_under_load_fails_no_request(settings: AuthSettings) -> None:
    """Two rotations pass, with a short period and lead, while phones refresh and call."""
    quick = AuthSettings.load(
        **settings.model_dump()
        | {"signing_key_days": 0.5 / 86_400, "signing_key_lead_seconds": 1.6}
    )
    built = build(quick, FakeTransport())
    await services.upgrade(built)
    listener = services.listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    verifier = AccessTokenVerifier(
        JwksCache(
            partial(fetch_json, url + JWKS_PATH),
            max_age_seconds=0.4,
            min_refresh_interval_seconds=0.1,
        ),
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        cache_seconds=0.2,
    )
    signers: set[str] = set()
    calls = 0

    async def phone(client: httpx.AsyncClient, number: int) -> None:
        nonlocal calls
        account = {"email": f"phone{number}@example.com", "password": "correct horse"}
        answer = await client.post("/auth/register", json=account)
        first = answer.json()["token"]
        while len(signers) < 3:
            refresh_token = answer.json()["refresh_token"]
            answer = await client.post("/auth/refresh", json={"refresh_token": refresh_token})
            assert answer.status_code == 200
            signers.add(_kid(answer))
            for token in (first, answer.json()["token"]):
                await verifier.verify(token)
                bearer = {"authorization": f"Bearer {token}"}
                me = await client.get("/auth/me", headers=bearer)
                assert me.status_code == 200
                calls += 1

    async with services.running(built, listener), http_client(base_url=url) as client:
        async with asyncio.timeout(120):
            await asyncio.gather(*(phone(client, number) for number in range(4)))

    assert calls > 20
