"""The scoring quality report: what the local scorer does with graded answers, by split. No network.

`python benchmarks/quality.py --sets FOLDER` prints the counts for a folder of other graded sets,
whose format is in `quality_set_files.py`.
`make quality` writes `scoring.json`, `held_out.json` and `speech.json` in `coach_ai/quality`, and
`docs/quality.md` with its picture. With `scoring` or `held_out` only that file is measured again.
`GET /v1/quality` serves the files as one report.
"""

import json
import statistics
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import quality_goals
import quality_picture
import quality_sets
import quality_tables
import yaml
from quality_set_files import (
    Expectation,
    Pair,
    load_fragments,
    load_languages,
    load_pairs,
    load_relevant,
    load_technical,
)

from coach_ai import embeddings, quality
from coach_ai.domain import Answer, Feedback
from coach_ai.openai import prompts
from coach_ai.scoring.answer_validation import strip_injections
from coach_ai.scoring.local import scorer
from coach_ai.scoring.points import PointMatcher
from coach_ai.scoring.rubric import load_rubric

ROOT = Path(__file__).parents[1]
GRADED = ROOT / "services" / "ai" / "tests" / "graded"
SCORING_FILE = Path(quality.__file__).with_name("scoring.json")
HELD_OUT = GRADED.with_name("heldout")
HELD_OUT_FILE = SCORING_FILE.with_name("held_out.json")
SPEECH_FILE = SCORING_FILE.with_name("speech.json")
PICTURE = ROOT / "docs" / "quality.svg"
PAGE = ROOT / "docs" / "quality.md"

HEAD = """# Scoring quality report

Reference for developers and reviewers: how well this version scores graded answers, transcribes
speech and measures delivery.
Written by `make quality` from real runs; `GET /v1/quality` returns the same numbers. Scored by
the {provider} scorer `{model}` with rubric {rubric_version}, transcribed by `{speech_model}`.

The answers are written, not recorded, and each level was assigned by one author. `first_set` was
written with knowledge of the scorer's cues, so its results are too good. `tuning` and `held_out`
were written without sight of the scorer. `second` was written by the author of the signals before
the signals. `held_out` is counted only and never used for tuning. The scorer was corrected with
the other sets and with `probes.yaml` in view.

Technical questions of these sets have no expected points, so their answers get no overall score.
They count as not ordered and as rejected here. Questions with points are under Pairs by class.

**Human agreement: {human_agreement}.** The OpenAI scorer is not in this report, because it needs
a key. The local scorer has no prompt. Versions of the prompts for OpenAI: {prompts}.
"""
TIMED_WORDS = 300
SECTIONS = {
    "ordering": (
        "Ordering",
        "Pairs of answers two or more levels apart that are ordered correctly. A tie counts as"
        " wrong. The goal is nine of ten.",
    ),
    "not_scored": (
        "Rejected answers",
        "Answers without an overall score. A rejected answer of levels 3 to 5 to a question that is"
        " not technical is an error.",
    ),
    "off_topic": (
        "Off-topic answers",
        "Good answers (levels 4 and 5) to another question of the split, and answers of levels 3 to"
        " 5 to their own question, that get no overall score. The scorer does not reject an answer"
        " to another question, it scores it lower (see off question below). Each question has"
        " three wordings. Questions that an answer may serve too are not counted"
        " (`graded/questions.yaml`).",
    ),
    "changes": (
        "Metamorphic tests",
        "Answers changed by hand whose score changes as expected: lower without the result, the"
        " action or the topic of the question, not higher for the other changes.",
    ),
}
INJECTIONS = """\
Injections are appended to each graded answer of levels 2 to 5. The table shows how many
raise any score of the local scorer, and how many scores they raise. The signals were
corrected with the first three lists in view. `unseen` was written afterwards.
"""


class _CachedEmbeddings(embeddings.Embeddings):
    """Encodes each text once: the same answers are scored with many questions."""

    def encode_layers(
        self, texts: Sequence[str], layers: Sequence[int]
    ) -> list[embeddings.Vectors]:
        rows = [self._one(text, tuple(layers)) for text in texts]
        return [np.vstack(one) for one in zip(*rows, strict=True)]

    @cache  # noqa: B019
    def _one(self, text: str, layers: tuple[int, ...]) -> list[embeddings.Vectors]:
        return super().encode_layers([text], layers)


def measure() -> dict[str, Any]:
    """Return the scoring part of the report."""
    folder = embeddings.find_installed()
    assert folder is not None, "the package of the sentence embeddings is not installed: make setup"
    local_scorer = scorer.LocalScorer(embeddings.Embeddings(folder, embeddings.default_cache_dir()))
    cached_scorer = scorer.LocalScorer(_CachedEmbeddings(folder, embeddings.default_cache_dir()))

    def score(question: str, text: str) -> int | None:
        return local_scorer.score_answer(Answer("Practice", question, text, "en")).overall_score

    @cache
    def score_once(question: str, text: str) -> int | None:
        return cached_scorer.score_answer(Answer("Practice", question, text, "en")).overall_score

    def feedback(answer: Answer) -> Feedback:
        return cached_scorer.score_answer(answer)

    blind = yaml.safe_load((GRADED / "blind.yaml").read_text("utf-8"))["answers"]
    first = yaml.safe_load((GRADED / "answers.yaml").read_text("utf-8"))["answers"]
    second = yaml.safe_load((GRADED / "second.yaml").read_text("utf-8"))["answers"]
    questions = yaml.safe_load((GRADED / "questions.yaml").read_text("utf-8"))
    injections = yaml.safe_load((GRADED / "injections.yaml").read_text("utf-8"))
    known = [one | {"split": "first_set", "kind": "behavioural"} for one in first]
    changed = yaml.safe_load((GRADED / "metamorphic.yaml").read_text("utf-8"))
    answers = [*blind, *known, *second]
    return {
        "provider": scorer.PROVIDER,
        "model": local_scorer.model,
        "rubric_version": load_rubric().version,
        "prompt_versions": {
            "score": prompts.version(*prompts.SCORE),
            "chat": prompts.version(*prompts.CHAT),
            "summarise": prompts.version(*prompts.SUMMARISE),
        },
        "human_agreement": "not measured",
        **quality.count_results(score_once, answers, changed),
        "off_topic": quality.off_topic(score_once, answers, questions),
        "injections_removed": _injections_removed(changed, injections),
        "injections_that_raise_score": quality.injections_that_raise(
            score_once, answers, injections
        ),
        "repeatability": quality.repeatability(score, answers),
        "probes": _measure_probes(feedback, answers, injections),
    }


def _measure_probes(
    score: quality_sets.ScoreAnswer,
    answers: list[dict[Any, Any]],
    injections: dict[str, list[str]],
) -> dict[str, Any]:
    """Return the classes of pairs, the additions that say nothing, and the scores by level."""
    third = yaml.safe_load((GRADED / "third.yaml").read_text("utf-8"))["answers"]
    seen = [*(one for one in answers if one["split"] != "held_out"), *third]
    report = quality_sets.measure_levels(score, seen)
    pairs = [*load_pairs(GRADED), *_pairs_of_best_answers(third)]
    report |= quality_sets.measure_pairs(score, pairs, report["level_distance"])
    report["additions"] = quality_sets.measure_additions(
        score,
        [(one["question"], one[level]) for one in seen for level in range(2, 6)],
        load_fragments(GRADED) | {f"injections_{name}": some for name, some in injections.items()},
    )
    report["technical"] = quality_sets.measure_technical(score, load_technical(GRADED))
    report["relevant_rejected"] = quality_sets.measure_relevant(score, load_relevant(GRADED))
    report["languages"] = quality_sets.measure_languages(score, load_languages(GRADED))
    return report


def _pairs_of_best_answers(entries: list[dict[Any, Any]]) -> list[Pair]:
    """Return the changes of the answers of level 5, and each of them to another question."""
    expected = {
        "cut_result": Expectation.LOWER,
        "cut_action": Expectation.LOWER,
        "same": Expectation.SAME,
    }
    changes = [
        Pair(name, one["question"], one[5], one["question"], one[name], expect)
        for one in entries
        for name, expect in expected.items()
        if name in one
    ]
    half = len(entries) // 2
    return changes + [
        Pair("off_question", one["question"], one[5], other["question"], one[5], Expectation.LOWER)
        for one, other in zip(entries, [*entries[half:], *entries[:half]], strict=True)
    ]


def measure_sets(folder: Path) -> dict[str, Any]:
    """Return the counts for a folder of graded sets."""
    model = embeddings.find_installed()
    assert model is not None, "the package of the sentence embeddings is not installed: make setup"
    embedder = _CachedEmbeddings(model, embeddings.default_cache_dir())
    found = quality_sets.measure_folder(
        scorer.LocalScorer(embedder).score_answer, PointMatcher(embedder), folder
    )
    found.pop("scores", None)
    return found


def measure_held_out() -> dict[str, Any]:
    """Return the counts for the held-out sets, the time of a scoring, and the goals."""
    counts = measure_sets(HELD_OUT)
    milliseconds = _measure_time()
    return {
        "held_out_sets": counts,
        "scoring_milliseconds": milliseconds,
        "goals": quality_goals.list_goals(counts, milliseconds),
    }


def _measure_time() -> int:
    """Return the median time, in milliseconds, to score an answer of 300 words."""
    folder = embeddings.find_installed()
    assert folder is not None, "the package of the sentence embeddings is not installed: make setup"
    local_scorer = scorer.LocalScorer(embeddings.Embeddings(folder, embeddings.default_cache_dir()))
    answers = yaml.safe_load((GRADED / "third.yaml").read_text("utf-8"))["answers"]
    words = " ".join(one[5] for one in answers).split()
    milliseconds = []
    for begin in range(0, len(words) - TIMED_WORDS, TIMED_WORDS // 2):
        text = " ".join(words[begin : begin + TIMED_WORDS])
        started_at = time.perf_counter()
        local_scorer.score_answer(Answer("Practice", answers[0]["question"], text, "en"))
        milliseconds.append(1000 * (time.perf_counter() - started_at))
    return round(statistics.median(milliseconds))


def _injections_removed(
    changed: dict[str, Any], injections: dict[str, list[str]]
) -> dict[str, Any]:
    """Return how many injections are removed before a model receives the text."""
    texts = {
        "graded_set": [one["injected"] for one in changed["variants"] if "injected" in one],
        "written_afterwards": [
            f"I built a shop. {one}" for some in injections.values() for one in some
        ],
    }
    return {
        name: {"count": sum(strip_injections(one) != one for one in given), "total": len(given)}
        for name, given in texts.items()
    }


def page(report: dict[str, Any]) -> str:
    """Return the report as a Markdown page."""
    versions = ", ".join(f"{k} `{v}`" for k, v in report["prompt_versions"].items())
    lines = [HEAD.format(**report, prompts=versions)]
    for name, (title, text) in SECTIONS.items():
        lines += [f"## {title}\n", f"{text}\n"]
        lines += ["| split | what | count | of |", "|---|---|---|---|"]
        for split, rows in report[name].items():
            lines += [f"| {split} | {k} | {n['count']} | {n['total']} |" for k, n in rows.items()]
        lines.append("")
    rejected = report["non_answers_rejected"]
    lines.append(
        f'Non-answers ("fine", a repetition of the question): {rejected["count"]} of'
        f" {rejected['total']} are rejected.\n"
    )
    seen, unseen = report["injections_removed"].values()
    lines.append("## Prompt injections\n")
    lines.append(
        f"Injections with a known wording are removed from what OpenAI receives: {seen['count']}"
        f" of {seen['total']} in the graded set, which the author of the\npatterns had seen, and"
        f" {unseen['count']} of {unseen['total']} written later.\n"
    )
    lines.append(INJECTIONS)
    lines.append("| list | injections that raise a score | of | scores raised | of |")
    lines.append("|---|---|---|---|---|")
    for name, n in report["injections_that_raise_score"].items():
        counts = [
            n[what][part] for what in ("injections", "answers") for part in ("count", "total")
        ]
        lines.append(f"| {name} | {' | '.join(map(str, counts))} |")
    lines.append("")
    return "\n".join([*lines, *quality_tables.lines(report)])


def measure_speech() -> dict[str, Any]:
    """Return the speech part of the report. Takes minutes."""
    import quality_metrics
    import quality_speech

    return quality_speech.measure() | quality_metrics.measure()


def main() -> None:
    """Write the report, its page and its picture.

    With `scoring` or `held_out` only that part is measured again. With `--sets FOLDER` print counts
    only.
    """
    if sys.argv[1:2] == ["--sets"]:
        print(json.dumps(measure_sets(Path(sys.argv[2])), indent=2))
        return
    parts = {
        "scoring": (SCORING_FILE, measure),
        "held_out": (HELD_OUT_FILE, measure_held_out),
        "speech": (SPEECH_FILE, measure_speech),
    }
    for name in sys.argv[1:] or parts:
        file, measure_part = parts[name]
        file.write_text(json.dumps(measure_part(), indent=2) + "\n", "utf-8")
    PAGE.write_text(page(quality.load_report()), "utf-8")
    PICTURE.write_text(quality_picture.draw(quality.load_report()["probes"]["scores"]), "utf-8")
    print(PAGE.read_text("utf-8"))


if __name__ == "__main__":
    main()
