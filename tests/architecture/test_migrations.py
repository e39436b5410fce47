"""The migrations of each service form one line, from an empty database to the newest revision."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_REVISION = re.compile(r'^(revision|down_revision) = (?:"(\w+)"|None)$', re.MULTILINE)


@pytest.mark.parametrize("service", ["auth", "sessions", "media", "ai"])
def test_every_revision_follows_another_one(service: str) -> None:
    folder = ROOT / "services" / service / "src" / f"coach_{service}" / "migrations"
    steps = [dict(_REVISION.findall(path.read_text())) for path in folder.glob("2*.py")]

    followed = [step["down_revision"] for step in steps]
    assert len(set(followed)) == len(steps) > 1
    assert len({step["revision"] for step in steps} - set(followed)) == 1
