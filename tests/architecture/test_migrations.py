"""The migrations of each service follow one another: Alembic upgrades to one head."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIRECTORIES = sorted(ROOT.glob("services/*/src/*/migrations"))
_REVISION = re.compile(r'^revision = "(\w+)"$', re.MULTILINE)
_DOWN_REVISION = re.compile(r'^down_revision = (?:"(\w+)"|None)$', re.MULTILINE)


@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda one: str(one.parts[-4]))
def test_migrations_of_a_service_form_one_chain(directory: Path) -> None:
    followed: dict[str, str | None] = {}
    for file in directory.glob("*.py"):
        text = file.read_text("utf-8")
        revision, down = _REVISION.search(text), _DOWN_REVISION.search(text)
        if revision is not None and down is not None:
            followed[revision[1]] = down[1]

    assert followed
    assert list(followed.values()).count(None) == 1
    assert len(set(followed.values())) == len(followed), "two migrations follow the same one"
