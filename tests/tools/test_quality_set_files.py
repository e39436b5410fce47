"""Files of graded sets: the accepted forms, and the message about a file in no accepted form."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import quality_set_files as sets

LEVELS = {1: "a", 2: "b", 3: "c", 4: "d", 5: "e"}


def _write(folder: Path, name: str, data: Any) -> None:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(data, sort_keys=False), "utf-8")


@pytest.mark.parametrize(
    "data",
    [
        [{"question": "Q", **LEVELS}],
        [{"question": "Q", "answers": LEVELS}],
        [{"question": "Q", "levels": list(LEVELS.values())}],
        [{"question": "Q", "answers": [{"level": n, "text": t} for n, t in LEVELS.items()]}],
        {"items": [{"question": "Q", "level": n, "answer": t} for n, t in LEVELS.items()]},
        {"questions": [{"question": "Q", **{n: {"text": t} for n, t in LEVELS.items()}}]},
    ],
    ids=["keys", "answers", "list", "labelled list", "entry per answer", "mappings"],
)
def test_levels_are_read_from_each_form(tmp_path: Path, data: Any) -> None:
    _write(tmp_path, "levels", data)

    (entry,) = sets.load_levels(tmp_path)

    assert entry["question"] == "Q"
    assert {level: entry[level] for level in sets.LEVELS} == LEVELS


def test_pairs_are_read_from_both_files(tmp_path: Path) -> None:
    pair = {"class": "padding", "question": "Q", "base": "b", "expect": "not higher"}
    _write(tmp_path, "pairs", {"pairs": [{**pair, "changed": "c"}]})
    _write(tmp_path, "probes", {"metamorphic": [{**pair, "other_question": "R"}]})

    first, second = sets.load_pairs(tmp_path)

    assert first == sets.Pair("padding", "Q", "b", "Q", "c", sets.Expectation.NOT_HIGHER)
    assert second == sets.Pair("padding", "Q", "b", "R", "b", sets.Expectation.NOT_HIGHER)


@pytest.mark.parametrize(
    "data",
    [
        {"padding": ["a", "b"]},
        {"fragments": {"padding": ["a", {"text": "b"}]}},
        [{"class": "padding", "text": "a"}, {"list": "padding", "text": "b"}],
    ],
    ids=["lists", "under a name", "entries"],
)
def test_fragments_are_read_from_each_form(tmp_path: Path, data: Any) -> None:
    _write(tmp_path, "fragments", data)

    assert sets.load_fragments(tmp_path) == {"padding": ["a", "b"]}


@pytest.mark.parametrize(
    "answers",
    [
        {"right": {"text": "r", "covers": ["p"], "contradicts": ["m"]}, "wrong": "w"},
        [
            {"kind": "right", "text": "r", "covered": ["p"], "contradicted": ["m"]},
            {"kind": "wrong", "text": "w"},
        ],
    ],
    ids=["mapping", "list"],
)
def test_technical_answers_are_read_from_each_form(tmp_path: Path, answers: Any) -> None:
    points = [{"id": "p", "text": "P"}, "second"]
    _write(tmp_path, "technical", [{"question": "Q", "points": points, "answers": answers}])

    (entry,) = sets.load_technical(tmp_path)

    assert [point["id"] for point in entry["points"]] == ["p", "1"]
    assert entry["answers"]["right"]["covers"] == ["p"]
    assert entry["answers"]["right"]["contradicts"] == ["m"]
    assert entry["answers"]["wrong"] == {"text": "w"} | (
        {"kind": "wrong"} if isinstance(answers, list) else {}
    )


@pytest.mark.parametrize(
    ("labels", "verdict"),
    [
        ({"expect": "refused"}, sets.Verdict.REFUSED),
        ({"refuse": False}, sets.Verdict.SCORED),
        ({"may_refuse": True}, sets.Verdict.EITHER),
        ({"language": "en"}, sets.Verdict.SCORED),
        ({"language": "de"}, sets.Verdict.REFUSED),
    ],
)
def test_languages_are_read_from_each_label(
    tmp_path: Path, labels: dict[str, Any], verdict: sets.Verdict
) -> None:
    _write(tmp_path, "languages", [{"text": "a", **labels}])

    (text,) = sets.load_languages(tmp_path)

    assert (text.text, text.verdict) == ("a", verdict)


@pytest.mark.parametrize(
    ("name", "data", "load", "message"),
    [
        ("levels", [{"question": "Q", 1: "a"}], sets.load_levels, "needs 2"),
        ("levels", [{"question": "Q", "level": 6, "text": "a"}], sets.load_levels, "1 to 5"),
        ("levels", "text", sets.load_levels, "must be a list"),
        ("pairs", [{"class": "c", "question": "Q", "base": "b"}], sets.load_pairs, "changed"),
        (
            "pairs",
            [{"class": "c", "question": "Q", "base": "b", "changed": "c", "expect": "odd"}],
            sets.load_pairs,
            "expect must be one of",
        ),
        ("fragments", {"padding": "a"}, sets.load_fragments, "must be a list of texts"),
        ("technical", [{"question": "Q", "answers": {}}], sets.load_technical, "needs right"),
        ("languages", [{"text": "a"}], sets.load_languages, "needs expect"),
        ("languages", [{"text": " ", "refuse": True}], sets.load_languages, "must be a text"),
        ("languages", [{"text": "a", "refuse": "yes"}], sets.load_languages, "true or false"),
    ],
)
def test_unknown_form_is_named(
    tmp_path: Path, name: str, data: Any, load: Callable[[Path], object], message: str
) -> None:
    _write(tmp_path, name, data)

    with pytest.raises(sets.InvalidSet, match=message):
        load(tmp_path)


def test_folder_without_a_set_or_with_an_unknown_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sets.InvalidSet, match="no set"):
        sets.check_files(tmp_path)
    _write(tmp_path, "answers", [])
    with pytest.raises(sets.InvalidSet, match=r"answers\.yaml"):
        sets.check_files(tmp_path)


def test_held_out_sets_have_an_accepted_form() -> None:
    folder = Path(__file__).parents[2] / "services" / "ai" / "tests" / "heldout"

    sets.check_files(folder)

    assert len(sets.load_levels(folder)) == 25
    assert len(sets.load_pairs(folder)) == 207
    assert len(sets.load_technical(folder)) == 24
    assert len(sets.load_languages(folder)) == 60
    assert len(sets.load_fragments(folder)) == 6
