"""The data directory is readable by its owner only."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from coach_common.config import SettingsError
from coach_embedded.config import Secrets, locked_data_dir


@pytest.fixture(autouse=True)
def _permissive_umask() -> Iterator[None]:
    previous = os.umask(0o022)
    yield
    os.umask(previous)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o750, 0o700])
def test_existing_directory_is_closed_to_other_users(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "data"
    path.mkdir()
    path.chmod(mode)

    with locked_data_dir(path):
        assert _mode(path) == 0o700


def test_new_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    with locked_data_dir(tmp_path / "a" / "b") as path:
        Secrets.load_or_create(path)
        (path / "x.db").touch()
        (path / "objects").mkdir()

        assert _mode(path) == 0o700
        assert {_mode(file) & 0o077 for file in path.iterdir()} == {0}


def test_directory_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    path.mkdir()
    path.chmod(0o755)

    def refuse(self: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)

    with pytest.raises(SettingsError, match="other users can read it"), locked_data_dir(path):
        pass
