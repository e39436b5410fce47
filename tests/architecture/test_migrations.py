"""The migrations of each service are one chain."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(ROOT.glob("services/*/src/*/migrations"))
_ASSIGNMENT = re.compile(r'^(revision|down_revision)\b[^=\n]*= (?:"([^"]+)"|None)$', re.MULTILINE)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_migrations_have_one_first_and_one_last_revision(folder: Path) -> None:
    """Two branches that add a migration each leave two last revisions, and no upgrade runs."""
    found = [
        {match[1]: match[2] for match in _ASSIGNMENT.finditer(file.read_text())}
        for file in sorted(folder.glob("[0-9]*.py"))
    ]
    revisions = [one["revision"] for one in found]
    parents = [one["down_revision"] for one in found]

    assert len(revisions) == len(set(revisions)) > 0
    assert len(parents) == len(set(parents)), "two migrations follow the same one"
    assert len(set(revisions) - set(parents)) == 1, "there are several last revisions"
    assert set(parents) - set(revisions) == {None}
