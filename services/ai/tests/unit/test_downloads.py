"""Downloads of a killed process are deleted, those of a running one are kept."""

import subprocess
import sys
from pathlib import Path

from coach_ai.downloads import DownloadDirectory
from coach_common.testing.harness import wait_until

_HOLD = """
import sys, pathlib
from coach_ai.downloads import DownloadDirectory
directory = DownloadDirectory(pathlib.Path(sys.argv[1]))
(directory.path / "recording").write_bytes(b"voice")
print("ready", flush=True)
sys.stdin.read()
"""


def _start_process(base: Path) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(base)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_downloads_of_a_killed_process_are_deleted(tmp_path: Path) -> None:
    process = _start_process(tmp_path)
    process.kill()
    process.communicate()
    own = DownloadDirectory(tmp_path)
    (own.path / "recording").write_bytes(b"voice")

    assert own.delete_abandoned() == 1

    assert [file.name for file in tmp_path.rglob("recording")] == ["recording"]
    assert (own.path / "recording").exists()


def test_downloads_of_a_running_process_are_kept(tmp_path: Path) -> None:
    process = _start_process(tmp_path)
    try:
        assert DownloadDirectory(tmp_path).delete_abandoned() == 0
        assert list(tmp_path.rglob("recording"))
    finally:
        process.kill()
        process.communicate()


async def test_discarded_file_is_deleted(tmp_path: Path) -> None:
    directory = DownloadDirectory(tmp_path)
    file = directory.path / "recording"
    file.write_bytes(b"voice")

    directory.discard(file)
    directory.discard(file)

    async def is_deleted() -> bool:
        return not file.exists()

    await wait_until(is_deleted, description="the deletion")
    directory.close()


def test_close_leaves_nothing(tmp_path: Path) -> None:
    directory = DownloadDirectory(tmp_path)
    (directory.path / "recording").write_bytes(b"voice")

    directory.close()

    assert list(tmp_path.iterdir()) == []


def test_missing_directory_is_no_error(tmp_path: Path) -> None:
    assert DownloadDirectory(tmp_path / "missing").delete_abandoned() == 0
