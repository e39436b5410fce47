"""Units: clauses of a transcript that depend little on punctuation, in linear time."""

from difflib import SequenceMatcher

import pytest

from coach_ai.scoring.units import MAX_UNIT_WORDS, split_units
from coach_common.testing.cost import assert_linear

STORY = (
    "I was on the late shift at a hotel when the boiler failed, and forty guests had no hot water."
    " I rang the plumber first. Then I opened the showers of the pool, because they have a boiler"
    " of their own, and I put a note under every door. Nobody asked for a refund."
)


def _plain(text: str) -> list[str]:
    return [unit.plain for unit in split_units(text)]


def test_units_are_clauses_in_order() -> None:
    assert _plain(STORY) == [
        "i was on the late shift at a hotel when the boiler failed",
        "forty guests had no hot water",
        "i rang the plumber first",
        "i opened the showers of the pool",
        "because they have a boiler of their own",
        "i put a note under every door",
        "nobody asked for a refund",
    ]


def test_units_carry_their_places_in_the_text() -> None:
    for unit in split_units(STORY):
        assert STORY[unit.begin : unit.end].startswith(unit.text)


@pytest.mark.parametrize(
    "changed",
    [
        STORY.lower().replace(".", "").replace(",", ""),
        STORY.replace(". ", ", and ").replace(".", ""),
        STORY.replace("I rang", "I, um, I rang").replace("at a hotel", "at a, uh, at a hotel"),
        STORY.replace("forty", "about, you know, forty").replace("I put", "I, I put"),
    ],
    ids=["no punctuation", "one sentence", "filled pauses", "fillers"],
)
def test_units_change_little_without_punctuation_or_fluency(changed: str) -> None:
    units = _plain(changed)

    assert len(units) <= len(_plain(STORY)) + 2
    words = SequenceMatcher(None, " ".join(units).split(), " ".join(_plain(STORY)).split())
    assert words.ratio() > 0.9


@pytest.mark.parametrize("joint", [", and", " and", ",", "", ". And", ". ", " but"])
@pytest.mark.parametrize("adverbial", ["as a result", "in the end", "after that"])
def test_adverbial_begins_a_unit_with_any_punctuation(joint: str, adverbial: str) -> None:
    text = f"I traced the calls to the bank{joint} {adverbial} the failed payments dropped to zero."

    assert [unit.removeprefix("but ") for unit in _plain(text)] == [
        "i traced the calls to the bank",
        f"{adverbial} the failed payments dropped to zero",
    ]


def test_unit_has_at_most_24_words() -> None:
    long = "the cellar of the house with the red roof near the station at the end of the line " * 9

    units = split_units(long)

    assert max(len(unit.tokens) for unit in units) <= MAX_UNIT_WORDS
    assert sum(len(unit.tokens) for unit in units) == len(long.split())


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("", []),
        ("...", []),
        ("Um, uh.", []),
        ("Returns. They piled up by the door.", ["returns they piled up by the door"]),
        ("It took 3.5 days and 1,200 euros.", ["it took 3.5 days and 1,200 euros"]),
        ("Dr. Smith signed it in the end.", ["dr smith signed it in the end"]),
    ],
)
def test_short_sentences_numbers_and_abbreviations_stay_whole(text: str, units: list[str]) -> None:
    assert _plain(text) == units


def test_max_units_bounds_the_result() -> None:
    assert len(split_units("I painted the whole wall. " * 500, max_units=12)) == 12


@pytest.mark.parametrize(
    "text",
    ["1" * 100_000, "a " * 50_000, "um, " * 25_000, "so I went, " * 9_000, ". a" * 33_333],
    ids=["digits", "one word", "fillers", "joints", "short sentences"],
)
def test_splitting_takes_linear_time(text: str) -> None:
    assert_linear(split_units, text)
