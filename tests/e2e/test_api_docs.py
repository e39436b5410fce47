"""docs/api.md works as it stands: its blocks are pasted into a shell, against a running server."""

import asyncio
import os
import re
from importlib.resources import files
from pathlib import Path

import pytest
from stacks import embedded

_WALK = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.mark.speech
async def test_curl_commands_in_api_docs_work(tmp_path: Path) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", _WALK.read_text(), re.DOTALL)
    async with embedded(tmp_path) as stack:
        shell = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            "\n".join(blocks),
            env={
                **os.environ,
                "BASE": stack.url,
                "RECORDING": str(files("coach_embedded") / "recordings" / "answer.m4a"),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(180):
            said, _ = await shell.communicate()

    assert shell.returncode == 0, said.decode()
    assert '"status": "ready"' in said.decode()
    assert said.decode().rstrip().endswith("Session not found")
