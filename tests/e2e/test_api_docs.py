"""Runs the shell commands of docs/api.md against a running server."""

import asyncio
import os
import re
from importlib.resources import files
from pathlib import Path

import pytest
from stacks import embedded

_TUTORIAL = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.mark.speech
async def test_curl_commands_in_api_docs_work(tmp_path: Path) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", _TUTORIAL.read_text(), re.DOTALL)
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
            output, _ = await shell.communicate()

    assert shell.returncode == 0, output.decode()
    assert '"status": "ready"' in output.decode()
    assert output.decode().rstrip().endswith("Session not found")
