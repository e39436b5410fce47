"""Documents name their kind and readers, links lead to files, and decisions have four parts."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_DATA = ("articles/", "prompts/", ".github/")
"""Product texts and templates, not documents."""
_READERS = re.compile(
    r"\bfor (?:[a-z-]+,? )*(everyone|users|contributors|researchers|reviewers|operators"
    r"|developers|backend engineers)\b",
    re.IGNORECASE,
)
_KIND = re.compile(r"(Tutorial|How-to guide|Reference|Explanation) for ")
_KINDLESS = {"docs/README.md"}


def _documents() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", "*.md"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    return [
        name
        for name in filter(None, listed.split("\0"))
        if not any(part in name for part in _DATA) and (ROOT / name).is_file()
    ]


_DECISIONS = [name for name in _documents() if re.match(r"docs/decisions/\d", name)]
_DOCUMENTS = [name for name in _documents() if name not in _DECISIONS]


@pytest.mark.parametrize("name", _DOCUMENTS)
def test_document_names_its_readers_first(name: str) -> None:
    title, _, text = (ROOT / name).read_text().partition("\n")
    first_lines = " ".join(text.strip().splitlines()[:3])

    assert title.startswith("# ")
    assert _READERS.search(first_lines)
    if name.startswith(("docs/", "services/")) and name.count("/") <= 2 and name not in _KINDLESS:
        assert _KIND.match(first_lines)


def test_tests_that_documents_name_exist() -> None:
    sources = "".join(
        path.read_text() for part in ("tests", "libs", "services", "deploy")
        for path in (ROOT / part).rglob("test_*.py")
    )  # fmt: skip
    named = {
        (test, document)
        for document in _documents()
        for test in re.findall(r"`(test_\w+)`", (ROOT / document).read_text())
    }

    assert len(named) > 50
    missing = [pair for pair in sorted(named) if f"def {pair[0]}(" not in sources]
    assert missing == []


@pytest.mark.parametrize("name", _DECISIONS)
def test_decision_has_four_parts(name: str) -> None:
    text = (ROOT / name).read_text()

    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "Status",
        "Context",
        "Decision",
        "Consequences",
    ]
    assert re.search(r"## Status\n\n(Accepted|Proposed|Rejected|Superseded)\b", text)


def test_index_lists_every_document() -> None:
    index = (ROOT / "docs/README.md").read_text() + (ROOT / "docs/decisions/README.md").read_text()
    linked = {Path(target).name for target in re.findall(r"\]\(([^)#:]+)", index)}
    listed = {
        Path(name).name
        for name in _documents()
        if name.startswith("docs/") and "README" not in name
    }

    assert listed - linked == set()


def test_links_in_documents_lead_to_files() -> None:
    broken = [
        (name, target)
        for name in _documents()
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / name).read_text())
        if not (ROOT / name).parent.joinpath(target).exists()
    ]

    assert broken == []


def test_anchors_in_documents_exist() -> None:
    broken = []
    for name in _documents():
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", (ROOT / name).read_text()):
            file = ROOT / name if not target else (ROOT / name).parent / target
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            if anchor not in {_slug(heading) for heading in headings}:
                broken.append((name, anchor))

    assert broken == []


def _slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
