"""Signing key rotation and revocation while users are signed in."""

import asyncio
import os
import re
import sys
from pathlib import Path

import jwt
import pytest
from attacker import ApiUser, SsrfCanary, SystemUnderTest
from stacks import embedded

from coach_common.testing.harness import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _keys(directory: Path, *arguments: str) -> str:
    """Run `coach auth keys …` on the data of a running system, as an admin does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "coach_auth", "keys", *arguments,
        env={**os.environ, "DATA_DIR": str(directory / "data"), "SIGNING_KEY_LEAD_SECONDS": "1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def test_a13_tokens_of_retired_key_work_and_of_revoked_key_do_not(
    tmp_path: Path,
) -> None:
    async with embedded(tmp_path, BCRYPT_COST="4", SIGNING_KEY_LEAD_SECONDS="1") as stack:
        target = SystemUnderTest(stack, tmp_path, SsrfCanary())
        async with ApiUser(target) as before:
            await before.register()
            old = jwt.get_unverified_header(before.token)["kid"]
            (new,) = re.findall(r"Published key (\w+);", await _keys(tmp_path, "rotate"))

            async def is_new_key_signing() -> bool:
                async with ApiUser(target) as after:
                    await after.register()
                    assert (await after.call("GET", "/auth/me")).status_code == 200
                    assert (await before.call("GET", "/auth/me")).status_code == 200
                    return bool(jwt.get_unverified_header(after.token)["kid"] == new)

            await wait_until(is_new_key_signing, description="the new key")
            listed = await _keys(tmp_path, "list")
            states = {line.split()[0]: line.split()[1] for line in listed.splitlines()}
            assert states == {old: "retired", new: "active"}

            await _keys(tmp_path, "revoke", old)

            async def is_old_key_rejected() -> bool:
                return (await before.call("GET", "/auth/me")).status_code == 401

            await wait_until(
                is_old_key_rejected, description="rejection of the old key", timeout_seconds=150
            )
