"""The scoring quality report: what the local scorer does with graded answers, by split. No network.

`make quality`. Writes `coach_ai/quality/scoring.json` and `docs/quality.md`, and `speech.json`
unless the argument is `scoring`. `GET /v1/quality` serves both files as one report.
"""

import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import quality_tables
import yaml

from coach_ai import embeddings, quality
from coach_ai.domain import Answer
from coach_ai.openai import prompts
from coach_ai.scoring.answer_validation import strip_injections
from coach_ai.scoring.local import scorer
from coach_ai.scoring.rubric import load_rubric

ROOT = Path(__file__).parents[1]
GRADED = ROOT / "services" / "ai" / "tests" / "graded"
SCORING_FILE = Path(quality.__file__).with_name("scoring.json")
SPEECH_FILE = SCORING_FILE.with_name("speech.json")
PAGE = ROOT / "docs" / "quality.md"

HEAD = """# Scoring quality report

Reference for developers and reviewers: how well this version scores graded answers, transcribes
speech and measures delivery.
Written by `make quality` from real runs; `GET /v1/quality` returns the same numbers. Scored by
the {provider} scorer `{model}` with rubric {rubric_version}, transcribed by `{speech_model}`.

The answers are written, not recorded, and each level was assigned by one author. `first_set` was
written with knowledge of the scorer's cues, so its results are too good. `tuning` and `held_out`
were written without sight of the scorer. `second` was written by the author of the signals before
the signals; its failures were examined for `rubric-signals-3`. `held_out` is counted only and
never used for tuning.

**Human agreement: {human_agreement}.** The OpenAI scorer is not in this report, because it needs
a key. The local scorer has no prompt. Versions of the prompts for OpenAI: {prompts}.
"""
SECTIONS = {
    "ordering": (
        "Ordering",
        "Pairs of answers two or more levels apart that are ordered correctly. A tie counts as"
        " wrong. The goal is nine of ten.",
    ),
    "not_scored": (
        "Rejected answers",
        "Answers of level 1 should be rejected. A rejected answer of levels 3 to 5 is an error.",
    ),
    "off_topic": (
        "Off-topic answers",
        "Good answers (levels 4 and 5) to another question of the split should be rejected."
        " Answers of levels 3 to 5 to their own question should not. Each question is asked in"
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

    def encode(self, texts: Sequence[str]) -> embeddings.Vectors:
        return np.vstack([self._one(text) for text in texts])

    @cache  # noqa: B019
    def _one(self, text: str) -> embeddings.Vectors:
        return super().encode([text])


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
    }


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
    """Write the report and its page. With `scoring` the speech part is not measured again."""
    SCORING_FILE.write_text(json.dumps(measure(), indent=2) + "\n", "utf-8")
    if sys.argv[1:] != ["scoring"]:
        SPEECH_FILE.write_text(json.dumps(measure_speech(), indent=2) + "\n", "utf-8")
    PAGE.write_text(page(quality.load_report()), "utf-8")
    print(PAGE.read_text("utf-8"))


if __name__ == "__main__":
    main()
