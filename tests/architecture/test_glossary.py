"""docs/glossary.md: order and references."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SOURCES = [ROOT, *ROOT.glob("*/*/src")]
_ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "glossary.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| term")
]


def test_terms_are_sorted_and_unique() -> None:
    terms = [row[0].lower() for row in _ROWS]

    assert terms == sorted(set(terms))


def test_each_term_has_a_meaning_and_an_existing_file() -> None:
    missing = []
    for term, meaning, where, _ in _ROWS:
        assert meaning, term
        (path,) = re.findall(r"^`([^`]+)`$", where)
        if not any((source / path).exists() for source in _SOURCES):
            missing.append((term, path))

    assert missing == []
