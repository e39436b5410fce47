"""Forged, modified, misplaced and revoked access tokens. Each is rejected."""

import base64
import hashlib
import hmac
import json
import string
import time
from typing import Any

import jwt
import pytest
from attacker import ApiUser, SystemUnderTest, b64, decode_token, signing_input
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from coach_common.ids import new_id
from coach_common.testing.harness import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

_ATTACKER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _signed(header: dict[str, Any], payload: dict[str, Any]) -> str:
    """Sign with the attacker's key, with any header."""
    algorithm = jwt.get_algorithm_by_name("RS256")
    signed = signing_input(header, payload)
    return f"{signed}.{b64(algorithm.sign(signed.encode(), _ATTACKER_KEY))}"


async def _assert_rejected(user: ApiUser, token: str) -> None:
    response = await user.http.get("/auth/me", headers={"authorization": f"Bearer {token}"})
    assert response.status_code == 401, response.text


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "", None])
async def test_a01_unsigned_tokens_are_rejected(alice: ApiUser, algorithm: str | None) -> None:
    header, payload = decode_token(alice.token)
    for signature in ("", alice.token.split(".")[2]):
        await _assert_rejected(
            alice, f"{signing_input(header | {'alg': algorithm}, payload)}.{signature}"
        )


@pytest.mark.parametrize("encoding", ["pem", "der", "n"])
async def test_a02_public_key_is_not_accepted_as_hmac_secret(alice: ApiUser, encoding: str) -> None:
    header, payload = decode_token(alice.token)
    jwks = (await alice.http.get("/.well-known/jwks.json")).json()
    (jwk,) = (key for key in jwks["keys"] if key["kid"] == header["kid"])
    key = jwt.PyJWK(jwk).key
    secret = {
        "pem": key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        "der": key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        "n": jwk["n"].encode(),
    }[encoding]
    signed = signing_input(header | {"alg": "HS256"}, payload)
    signature = b64(hmac.digest(secret, signed.encode(), hashlib.sha256))

    await _assert_rejected(alice, f"{signed}.{signature}")


async def test_a03_valid_kid_with_foreign_signature_is_rejected(
    alice: ApiUser, bob: ApiUser
) -> None:
    header, payload = decode_token(alice.token)

    await _assert_rejected(alice, _signed(header, payload))
    await _assert_rejected(alice, _signed(header, payload | {"sub": bob.user_id}))


async def test_a04_keys_embedded_in_token_header_are_ignored(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    header, payload = decode_token(alice.token)
    public = json.loads(jwt.get_algorithm_by_name("RS256").to_jwk(_ATTACKER_KEY.public_key()))
    for key_header in (
        {"jwk": public},
        {"jwk": public, "kid": "mine"},
        {"jku": f"{target.canary.url}/jwks.json", "kid": "mine"},
        {"x5u": f"{target.canary.url}/cert.pem", "kid": "mine"},
        {"jku": f"{target.canary.url}/jwks.json"},
        {"x5c": ["MIIB"]},
        {"kid": f"{target.canary.url}/jwks.json"},
        {"kid": "../../../../dev/null"},
        {"kid": "' UNION SELECT 'x"},
        {"kid": 1},
    ):
        await _assert_rejected(alice, _signed(header | key_header, payload))


_NOW = int(time.time())
_MISSING: Any = object()


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": _NOW - 31}, {"exp": _MISSING}, {"exp": str(_NOW + 900)}, {"exp": 1e308},
        {"exp": -1}, {"exp": True}, {"nbf": _NOW + 3600}, {"iat": _NOW + 3600},
        {"aud": _MISSING}, {"aud": "other"}, {"aud": ["genai-coach-api", "other"]},
        {"iss": "evil"}, {"iss": _MISSING}, {"sub": _MISSING}, {"sub": 7}, {"sub": ""},
        {"sid": _MISSING}, {"sid": ""}, {"type": "refresh"}, {"type": _MISSING},
    ],
    ids=lambda changed: "-".join(f"{name}" for name in changed),
)  # fmt: skip
async def test_a06_a07_a08_modified_claims_are_rejected(
    target: SystemUnderTest, alice: ApiUser, changed: dict[str, Any]
) -> None:
    """With the old signature, with the attacker's and with the server's own."""
    header, payload = decode_token(alice.token)
    modified = {name: value for name, value in (payload | changed).items() if value is not _MISSING}
    signature = alice.token.split(".")[2]

    await _assert_rejected(alice, f"{signing_input(header, modified)}.{signature}")
    await _assert_rejected(alice, _signed(header, modified))
    await _assert_rejected(alice, target.sign_token(header, modified))
    valid = target.sign_token(header, payload | {"jti": "another"})
    accepted = await alice.http.get("/auth/me", headers={"authorization": f"Bearer {valid}"})
    assert accepted.status_code == 200


@pytest.mark.parametrize("kind", [None, "JWT", "rt+jwt", "at+JWT "])
async def test_a08_wrong_typ_header_is_rejected(
    target: SystemUnderTest, alice: ApiUser, kind: str | None
) -> None:
    header, payload = decode_token(alice.token)

    await _assert_rejected(alice, target.sign_token(header | {"typ": kind}, payload))


async def test_a08_access_and_refresh_tokens_are_not_interchangeable(alice: ApiUser) -> None:
    await _assert_rejected(alice, alice.refresh_token)
    refreshed = await alice.http.post("/auth/refresh", json={"refresh_token": alice.token})

    assert refreshed.status_code == 401
    assert (await alice.call("GET", "/auth/me")).status_code == 200


async def test_a09_malformed_tokens_are_rejected(target: SystemUnderTest, alice: ApiUser) -> None:
    header, payload = decode_token(alice.token)
    head, body, signature = alice.token.split(".")
    # The last character carries padding bits: another one may decode to the same bytes.
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    flipped = signature[:-1] + alphabet[alphabet.index(signature[-1]) ^ 1]
    for token in (
        target.sign_token(header | {"crit": ["x"], "x": 1}, payload),
        target.sign_token(header | {"b64": False, "crit": ["b64"]}, payload),
        f"{head}.{body}.{signature}.{signature}",
        f"{head}.{body}.{signature}.{signature}.{signature}",
        f"{head}.{body}",
        f"{head}.{body}.{flipped}",
        f"{head}.{body}.{signature}=",
        f"{head} .{body}.{signature}",
        f"{head}.{body}\t.{signature}",
        f"{head}.{body}.{'A' * 8192}",
        "..",
        "null",
    ):
        await _assert_rejected(alice, token)


async def test_a11_token_is_accepted_only_in_authorization_header(alice: ApiUser) -> None:
    token = alice.token
    for response in (
        await alice.http.get("/auth/me", params={"token": token}),
        await alice.http.get("/auth/me", params={"access_token": token}),
        await alice.http.get("/auth/me", headers={"cookie": f"token={token}"}),
        await alice.http.request("GET", "/auth/me", json={"token": token, "access_token": token}),
    ):
        assert response.status_code == 401


async def test_a12_logout_takes_effect_within_one_second(alice: ApiUser) -> None:
    """test_replicas covers two replicas and open sockets."""
    assert (await alice.call("POST", "/auth/logout")).status_code == 200

    async def is_revoked() -> bool:
        return (await alice.call("GET", "/auth/me")).status_code == 401

    await wait_until(is_revoked, description="revocation of the login", timeout_seconds=1.0)


async def test_a29_jwks_contains_only_public_keys(anonymous: ApiUser) -> None:
    keys = (await anonymous.http.get("/.well-known/jwks.json")).json()["keys"]

    assert keys
    for key in keys:
        assert set(key) == {"kty", "use", "alg", "kid", "n", "e"}
        assert key["alg"] == "RS256"
        assert int.from_bytes(base64.urlsafe_b64decode(key["n"] + "=="), "big").bit_length() >= 2048


async def test_a03_unknown_kid_is_rejected(alice: ApiUser) -> None:
    header, payload = decode_token(alice.token)

    await _assert_rejected(alice, _signed(header | {"kid": str(new_id())}, payload))
