"""Information disclosure, logs, file permissions and invalid settings."""

import asyncio
import os
import re
import stat
import subprocess
import sys

import pytest
from attacker import PASSWORD, PROBLEM_MEDIA_TYPE, VICTIM_TRANSCRIPT, ApiUser, SystemUnderTest

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a79_secrets_do_not_leak_into_responses_or_logs(
    target: SystemUnderTest, alice: ApiUser, bob: ApiUser
) -> None:
    presigned = await alice.presign()
    await alice.put(presigned, b"not a recording")
    rejected = await alice.confirm(presigned["key"])
    public_paths = ("/metrics", "/openapi.json", "/docs", "/health", "/", "/health/ready")
    texts = [rejected.text, *[(await alice.http.get(path)).text for path in public_paths]]
    for body in (PASSWORD, f'{{"password": "{PASSWORD}"', {"email": PASSWORD}, [PASSWORD]):
        response = await alice.http.post("/auth/login", json=body)
        assert response.status_code == 422
        texts.append(response.text)
    dead_letters = target.query("broker", "SELECT reason FROM messages WHERE dead_at IS NOT NULL")
    texts += [str(row) for row in dead_letters]

    keys = (target.directory / "data" / "secrets.json").read_text()
    secrets = target.secrets | set(re.findall(r'"([^"]{16,})"', keys)) | {alice.email, bob.email}
    assert {secret for secret in secrets for text in texts if secret in text} == set()
    log = target.log_text()
    all_secrets = secrets | {VICTIM_TRANSCRIPT, alice.email, bob.email}
    assert {secret for secret in all_secrets if secret in log} == set()
    assert "X-Amz-Signature" not in log and "?" not in re.sub(r"\?…", "", log).replace("?'", "")


async def test_a79_data_dir_permissions(target: SystemUnderTest) -> None:
    data = target.directory / "data"

    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "secrets.json").stat().st_mode) == 0o600
    keys = target.query("auth", "SELECT private_key FROM signing_keys")
    assert keys and all("PRIVATE KEY" not in key for (key,) in keys)
    for (password_hash,) in target.query("auth", "SELECT password_hash FROM users"):
        assert password_hash.startswith("$2b$")


_REQUIRED = {
    "DATABASE_URL": "sqlite:///nowhere.db",
    "RABBITMQ_URL": "amqp://127.0.0.1:1/",
    "SERVICE_TOKEN": "a service token that only the tests know",
    "SECRET_KEY": "a secret key of more than thirty-two characters",
    "AWS_ACCESS_KEY_ID": "coach",
    "AWS_SECRET_ACCESS_KEY": "a secret that only the tests know",
    "S3_BUCKET_NAME": "genai-coach",
}


@pytest.mark.parametrize(
    ("service", "changed"),
    [
        ("auth", {"SECRET_KEY": "tooshortbutsecret"}),
        ("auth", {"SECRET_KEY": None}),
        ("auth", {"SECRET_KEY": "change-me-change-me-change-me-change-me"}),
        ("auth", {"SERVICE_TOKEN": "hidden"}),
        ("auth", {"DEBUG": "true"}),
        ("auth", {"BCRYPT_COST": "1"}),
        ("auth", {"ACCESS_TOKEN_EXPIRE_MINUTES": "-1"}),
        ("gateway", {"SERVICE_TOKEN": None}),
        ("gateway", {"DEBUG": "true"}),
        ("media", {"AWS_SECRET_ACCESS_KEY": None}),
        ("sessions", {"DATABASE_URL": None}),
    ],
    ids=str,
)
async def test_a80_invalid_setting_prevents_startup(
    service: str, changed: dict[str, str | None]
) -> None:
    env = {name: value for name, value in os.environ.items() if name not in _REQUIRED}
    env |= _REQUIRED | {"ENVIRONMENT": "production", "PORT": "0", "HOST": "127.0.0.1"}
    env |= {name: value for name, value in changed.items() if value is not None}
    for name, value in changed.items():
        if value is None:
            env.pop(name, None)
    completed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", f"coach_{service}", "serve"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert completed.returncode != 0
    ((name, value),) = changed.items()
    output = (completed.stdout + completed.stderr).strip()
    assert "\n" not in output and name in output, output
    assert value is None or len(value) < 6 or value not in output
    assert all(other not in output for other in _REQUIRED.values())


async def test_a83_gateway_exposes_no_internal_routes(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    for path in (
        "/internal/revocations", "/v1/health", "/v1/metrics", "/auth/health", "/auth/metrics",
        "/sessions/metrics", "/redoc", "/swagger", "/auth/docs", "/auth/openapi.json", "/debug",
        "/.env", "/.git/config", "/server-status", "/actuator/env",
    ):  # fmt: skip
        response = await alice.call("GET", path)
        assert response.status_code == 404, path
        assert response.headers["content-type"] == PROBLEM_MEDIA_TYPE
    health = (await alice.http.get("/health")).text
    assert not re.search(r"sqlite|mysql|amqp|127\.0\.0\.1|/tmp|:\d{4}", health)


async def test_a83_metric_labels_have_bounded_cardinality(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    markers = [f"mark{number}xyzzy" for number in range(30)]
    for marker in markers:
        await alice.call("GET", f"/sessions/{marker}")
        await alice.call("GET", f"/{marker}")
        await alice.call("GET", f"/auth/me?x={marker}", headers={"x-request-id": marker})
    await alice.http.request("XYZZY", "/auth/me")
    metrics = (await alice.http.get("/metrics")).text

    assert "xyzzy" not in metrics.lower()
    assert alice.user_id not in metrics
    assert len(metrics.splitlines()) < 6_000
