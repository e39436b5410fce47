"""The committed quality report, and the functions that compute it."""

import asyncio
import itertools
import json
import runpy
from pathlib import Path

import pytest

from coach_ai import quality
from coach_ai.embeddings import Embeddings
from coach_ai.openai import prompts

BENCHMARKS = Path(__file__).parents[4] / "benchmarks"
MAKE = runpy.run_path(str(BENCHMARKS / "quality.py"))
AGAIN = "Run make quality, and read what became better or worse."


@pytest.mark.slow
@pytest.mark.timeout(1200)  # 5,000 scorings
def test_committed_report_matches_current_scores(embeddings: Embeddings) -> None:
    current = json.loads(json.dumps(MAKE["measure"]()))

    assert {name: quality.load_report()[name] for name in current} == current, AGAIN


def test_committed_metric_errors_match_current_code() -> None:
    now = runpy.run_path(str(BENCHMARKS / "quality_metrics.py"))["measure"]()
    card = quality.load_report()

    for where, figures in now["metric_errors"].items():
        for name, one in figures.items():
            known = card["metric_errors"][where][name]
            # Another processor may round a sum another way.
            assert one["worst"] == pytest.approx(known["worst"], abs=0.02), f"{name}: {AGAIN}"
            assert (one["n"], one["unit"]) == (known["n"], known["unit"])
            assert one["goal"] is None or one["worst"] <= one["goal"]
    for name in ("filled_pauses_detected", "filled_pauses_false"):
        assert now[name] == card[name], AGAIN


@pytest.mark.speech
def test_committed_word_errors_match_current_code() -> None:
    speech = runpy.run_path(str(BENCHMARKS / "quality_speech.py"))

    now = asyncio.run(speech["word_errors_now"]())

    for speaker, known in quality.load_report()["word_errors"].items():
        # The model's arithmetic differs a little between processors: two words, no more.
        assert now[speaker]["total"] == known["total"]
        assert abs(now[speaker]["count"] - known["count"]) <= 2, AGAIN


def test_off_topic_counts_every_wording_of_distant_questions() -> None:
    answers = [
        {"question": name, "split": split, **{n: f"{name}{n}" for n in range(1, 6)}}
        for name, split in (("A", "tuning"), ("B", "tuning"), ("C", "tuning"), ("D", "second"))
    ]
    questions = [
        {"question": "A", "also": ["a"], "near": ["B"]},
        *({"question": name, "also": [name.lower()], "near": []} for name in "BCD"),
    ]
    refused = {("C", "A4"), ("c", "A4"), ("c", "B5"), ("A", "A3"), ("B", "A4"), ("A", "B4")}

    found = quality.off_topic(lambda *asked: None if asked in refused else 50, answers, questions)

    # A and B to C, C to A and B: two levels in two wordings each; three levels to their own.
    assert found["tuning"]["another question"] == {"count": 3, "total": 16}
    assert found["tuning"]["own question"] == {"count": 1, "total": 18}
    assert found["second"] == {"own question": {"count": 0, "total": 6}}


def test_injection_that_raises_one_score_counts_once() -> None:
    answer = {"question": "Q", **{n: f"text{n}" for n in range(1, 6)}}
    scores = {"text2 More.": 51, "text3 Less.": None, "text4 More.": 50, "text1 More.": 90}

    found = quality.injections_that_raise(
        lambda _, text: scores.get(text, 50), [answer], {"known": ["More.", "Less."]}
    )

    assert found == {
        "known": {"injections": {"count": 1, "total": 2}, "answers": {"count": 1, "total": 8}}
    }


def test_prompts_have_different_versions() -> None:
    versions = [prompts.version(*names) for names in (prompts.SCORE, prompts.CHAT, ("reminder",))]

    assert len(set(versions)) == 3
    assert list(quality.load_report()["prompt_versions"].values())[:2] == versions[:2]


def test_repeatability_returns_the_largest_spread() -> None:
    scores = itertools.chain([50] * 5, [40, None, 60, 50, 50], [70] * 15)
    answer = {"question": "Q", **dict.fromkeys(range(1, 6), "text")}

    found = quality.repeatability(lambda *_: next(scores), [answer])

    assert found == {"answers": 5, "repetitions": 5, "max_spread": 61}


def test_committed_page_matches_committed_report() -> None:
    assert MAKE["PAGE"].read_text("utf-8") == MAKE["page"](quality.load_report()), AGAIN


def test_ties_count_as_wrong_and_rejections_rank_lowest() -> None:
    scores = {"a": None, "b": 40, "c": 40, "d": 40, "e": 90, "z": None, "fine": 50}
    answer = {"question": "Q", "kind": "general", "split": "tuning"}
    graded = answer | dict(zip(range(1, 6), "abcde", strict=True))
    changed = {
        "expects": {"cut": "lower", "padded": "not higher"},
        "variants": [{"question": "Q", "level": 4, "cut": "c", "padded": "c"}],
        "not_answers": [{"question": "Q", "text": "fine"}, {"question": "Q", "text": "z"}],
    }

    found = quality.count_results(lambda _, text: scores[text], [graded], changed)

    # a<c, a<d, a<e, b=d, b<e, c<e
    assert found["ordering"]["tuning"]["all"] == {"count": 5, "total": 6}
    assert found["not_scored"]["tuning"]["level 1"] == {"count": 1, "total": 1}
    assert found["not_scored"]["tuning"]["levels 3 to 5"] == {"count": 0, "total": 3}
    assert found["changes"]["tuning"]["cut"] == {"count": 0, "total": 1}
    assert found["changes"]["tuning"]["padded"] == {"count": 1, "total": 1}
    assert found["non_answers_rejected"] == {"count": 1, "total": 2}
