"""Keys that change while people are signed in: nobody notices, and what is gone opens nothing."""

import asyncio
import os
import sys
from pathlib import Path

import jwt
import pytest
from attacker import Canary, Person, Target
from stacks import embedded

from coach_common.testing.harness import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _keys(folder: Path, *words: str) -> str:
    """Run `coach auth keys …` on the data of a running system, as an operator does."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "coach_auth", "keys", *words,
        env={**os.environ, "DATA_DIR": str(folder / "data"), "SIGNING_KEY_LEAD_SECONDS": "1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, failed = await running.communicate()
    assert running.returncode == 0, failed.decode()
    return said.decode()


async def test_a13_a_token_of_the_key_before_is_good_and_one_of_a_key_that_is_gone_is_not(
    tmp_path: Path,
) -> None:
    async with embedded(tmp_path, BCRYPT_COST="4", SIGNING_KEY_LEAD_SECONDS="1") as stack:
        target = Target(stack, tmp_path, Canary())
        async with Person(target) as before:
            await before.register()
            old = jwt.get_unverified_header(before.token)["kid"]
            new = (await _keys(tmp_path, "rotate")).split()[0]

            async def new_key_signs() -> bool:
                async with Person(target) as after:
                    await after.register()
                    assert (await after.call("GET", "/auth/me")).status_code == 200
                    assert (await before.call("GET", "/auth/me")).status_code == 200
                    return bool(jwt.get_unverified_header(after.token)["kid"] == new)

            await eventually(new_key_signs, what="the new key", seconds=60)
            listed = await _keys(tmp_path, "list")
            states = {line.split()[0]: line.split()[1] for line in listed.splitlines()}
            assert states == {old: "retired", new: "active"}

            await _keys(tmp_path, "retire", old)

            async def old_key_opens_nothing() -> bool:
                return (await before.call("GET", "/auth/me")).status_code == 401

            await eventually(old_key_opens_nothing, what="the end of the old key", seconds=150)
