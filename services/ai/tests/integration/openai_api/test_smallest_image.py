"""ai with OpenAI works with the packages of the image `ai-openai` alone."""

import asyncio
import importlib.util
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType

import generate_packages

from support.openai_server import OVERALL_SCORE, OpenAIServer, scoring_completion

SCRIPT = Path(__file__).parent / "without_local_packages.py"
ROOT = Path(__file__).parents[5]
TEXT = (
    "Last year I fixed a broken build in our team. I measured every step and found the slow one."
    " I rewrote it with a cache, and it took two days instead of a week."
)


def _load_prune() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prune", ROOT / "deploy/images/prune.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _link(source: Path, target: Path, unused: set[str]) -> None:
    """Link a file or directory, without the unused directories, which are named by their paths."""
    parts = {name.partition("/")[2] for name in unused if name.split("/")[0] == source.name}
    if "" in parts:
        return
    if not parts:
        target.symlink_to(source)
        return
    target.mkdir()
    for child in source.iterdir():
        _link(child, target / child.name, parts)


def _link_packages(names: set[str], directory: Path) -> None:
    """Link what the image keeps of installed packages, and their metadata, into a directory.

    The lock file also has packages for other platforms.
    """
    unused = {name for name in _load_prune()._UNUSED_DIRECTORIES if name.startswith("openai/")}
    assert unused
    for name in names:
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        for top in {file.parts[0] for file in found.files or () if file.parts[0] != ".."}:
            source = Path(str(found.locate_file(top)))
            if source.exists() and not (directory / top).exists():
                _link(source, directory / top, unused)


async def test_openai_transcribes_and_scores_without_local_packages(
    server: OpenAIServer, tmp_path: Path
) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    _, installed = generate_packages.list_installed()["ai-openai"]
    # The image has MySQL. The database of the test is SQLite.
    _link_packages({*installed, "aiosqlite"}, packages)
    recording = tmp_path / "recording"
    recording.write_bytes(b"OggS" + bytes(2_000))
    words = [
        {"word": word, "start": at * 0.5, "end": at * 0.5 + 0.4}
        for at, word in enumerate(TEXT.split())
    ]
    server.answers = [
        {"text": TEXT, "language": "english", "duration": 17.5, "words": words},
        scoring_completion(),
    ]

    sources = [str(path) for path in ROOT.glob("*/*/src")] + [str(ROOT / "tests")]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        # Without the site-packages of this interpreter.
        "-S",
        str(SCRIPT),
        server.url,
        str(recording),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([*sources, str(packages)])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()

    assert process.returncode == 0, errors.decode()[-3000:]
    found = json.loads(output.splitlines()[-1])
    assert found["installed"] == []
    assert server.uploads == [recording.read_bytes()]
    assert (found["text"], found["duration_seconds"], found["audio"]) == (TEXT, 17.5, None)
    assert found["delivery"] == {"status": "not_measurable", "reason": "the audio was not analysed"}
    assert found["overall_score"] == OVERALL_SCORE
    assert found["live_transcriber"] is None
    assert found["errors"] == [
        f"setting {name}: local needs the package coach-ai[local]; install it, or {remedy}"
        for name, remedy in (
            ("AI_PROVIDER", "set AI_PROVIDER=openai or OPENAI_API_KEY"),
            ("SPEECH_PROVIDER", "set SPEECH_PROVIDER=openai"),
            ("SPEECH_FALLBACK", "unset it"),
        )
    ]
