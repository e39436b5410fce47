"""The quality card says what this very code does, and counts as it says."""

import json
import runpy
from pathlib import Path

from coach_ai import quality

MAKE = runpy.run_path(str(Path(__file__).parents[4] / "benchmarks" / "quality.py"))
AGAIN = "Run make quality, and read what became better or worse."


def test_the_committed_card_holds_what_the_code_gives_now() -> None:
    assert quality.card() == json.loads(json.dumps(MAKE["measure"]())), AGAIN


def test_the_committed_page_shows_the_committed_card() -> None:
    assert MAKE["PAGE"].read_text("utf-8") == MAKE["page"](quality.card()), AGAIN


def test_a_tie_and_a_score_for_no_answer_count_as_wrong_and_a_refusal_stands_lowest() -> None:
    scores = {"a": None, "b": 40, "c": 40, "d": 40, "e": 90, "z": None, "fine": 50}
    answer = {"question": "Q", "kind": "general", "split": "tuning"}
    graded = answer | dict(zip(range(1, 6), "abcde", strict=True))
    changed = {
        "expects": {"cut": "lower", "padded": "not higher"},
        "variants": [{"question": "Q", "level": 4, "cut": "c", "padded": "c"}],
        "not_answers": [{"question": "Q", "text": "fine"}, {"question": "Q", "text": "z"}],
    }

    found = quality.count(lambda _, text: scores[text], [graded], changed)

    # a<c, a<d, a<e, b=d, b<e, c<e
    assert found["ordering"]["tuning"]["all"] == {"count": 5, "of": 6}
    assert found["not_scored"]["tuning"]["level 1"] == {"count": 1, "of": 1}
    assert found["not_scored"]["tuning"]["levels 3 to 5"] == {"count": 0, "of": 3}
    assert found["changes"]["tuning"]["cut"] == {"count": 0, "of": 1}
    assert found["changes"]["tuning"]["padded"] == {"count": 1, "of": 1}
    assert found["no_answers_not_scored"] == {"count": 1, "of": 2}
