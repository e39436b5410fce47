"""The quality card: what the local judge does with graded answers, by split; no network.

Writes `coach_ai/quality/scoring.json` and, where it is not told `judge`, `speech.json`, which
`GET /v1/quality` serves together, and `docs/quality.md`.
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
CARD = Path(quality.__file__).with_name("scoring.json")
SPEECH = CARD.with_name("speech.json")
PAGE = ROOT / "docs" / "quality.md"

HEAD = """# How good the judge is

Written by `make quality`, from real runs; `GET /v1/quality` serves the same figures. The
{provider} judge `{model}`, rubric {rubric_version}; speech by `{speech_model}`.

The answers are written, not recorded, by hands that nobody has checked: the levels are one
writer's. `first_set` was written by one who had read the judge's cues, so it flatters; `tuning` and
`held_out` were written without sight of the judge. `second` was written before the signals were
rewritten, by the hand that did it; its failures were looked at for `rubric-signals-3`. `held_out`
is only counted, never tuned on.

**Human agreement: {human_agreement}.** The OpenAI judge is not on this card: its figures need a
key. The local judge has no prompt; the versions of the prompts that OpenAI is given:
{prompts}.
"""
SECTIONS = {
    "ordering": "Pairs of answers two or more levels apart that come out in the right order"
    " (a tie is wrong). The goal is nine of ten.",
    "not_scored": "Answers that are refused. Of level 1 they should be; of levels 3 to 5 every one"
    " is a false refusal.",
    "off_topic": "Refused when the good answers (levels 4 and 5) of a split are put to its other"
    " questions, which they should be, and when those of levels 3 to 5 are put to their own, which"
    " none should be; each question in three wordings. Not counted is a question that such an"
    " answer may serve as well (`graded/questions.yaml`).",
    "changes": "Answers changed by hand whose score goes where it should: down where the result,"
    " the action or the question's topic is cut, not up for the others.",
}
RAISE = """Orders said after each graded answer of levels 2 to 5: how many raise any score of the
local judge, and how many scores they raise. Its signals were mended with the first three lists in
view; `unseen` was written afterwards.
"""


class _Remembering(embeddings.Embeddings):
    """Makes each vector once: the same answers are put to many questions."""

    def encode(self, texts: Sequence[str]) -> embeddings.Vectors:
        return np.vstack([self._one(text) for text in texts])

    @cache  # noqa: B019
    def _one(self, text: str) -> embeddings.Vectors:
        return super().encode([text])


def measure() -> dict[str, Any]:
    """Return the card."""
    folder = embeddings.find_installed()
    assert folder is not None, "the package of the sentence embeddings is not installed: make setup"
    judge = scorer.LocalScorer(embeddings.Embeddings(folder, embeddings.default_cache_dir()))
    known_judge = scorer.LocalScorer(_Remembering(folder, embeddings.default_cache_dir()))

    def score(question: str, text: str) -> int | None:
        return judge.score_answer(Answer("Practice", question, text, "en")).overall_score

    @cache
    def score_once(question: str, text: str) -> int | None:
        return known_judge.score_answer(Answer("Practice", question, text, "en")).overall_score

    blind = yaml.safe_load((GRADED / "blind.yaml").read_text("utf-8"))["answers"]
    first = yaml.safe_load((GRADED / "answers.yaml").read_text("utf-8"))["answers"]
    second = yaml.safe_load((GRADED / "second.yaml").read_text("utf-8"))["answers"]
    questions = yaml.safe_load((GRADED / "questions.yaml").read_text("utf-8"))
    orders = yaml.safe_load((GRADED / "orders.yaml").read_text("utf-8"))
    known = [one | {"split": "first_set", "kind": "behavioural"} for one in first]
    changed = yaml.safe_load((GRADED / "metamorphic.yaml").read_text("utf-8"))
    answers = [*blind, *known, *second]
    return {
        "provider": scorer.PROVIDER,
        "model": judge.model,
        "rubric_version": load_rubric().version,
        "prompt_versions": {
            "score": prompts.version(*prompts.SCORE),
            "chat": prompts.version(*prompts.CHAT),
            "summarise": prompts.version(*prompts.SUMMARISE),
        },
        "human_agreement": "not measured",
        **quality.count_results(score_once, answers, changed),
        "off_topic": quality.off_topic(score_once, answers, questions),
        "injections_removed": _injections_removed(changed, orders),
        "injections_that_raise_score": quality.injections_that_raise(score_once, answers, orders),
        "repeatability": quality.repeatability(score, answers),
    }


def _injections_removed(changed: dict[str, Any], orders: dict[str, list[str]]) -> dict[str, Any]:
    """Return how many texts with an order to the judge lose it before a model sees them."""
    texts = {
        "graded_set": [one["injected"] for one in changed["variants"] if "injected" in one],
        "written_afterwards": [
            f"I built a shop. {one}" for some in orders.values() for one in some
        ],
    }
    return {
        name: {"count": sum(strip_injections(one) != one for one in given), "total": len(given)}
        for name, given in texts.items()
    }


def page(card: dict[str, Any]) -> str:
    """Return the card as a page."""
    versions = ", ".join(f"{k} `{v}`" for k, v in card["prompt_versions"].items())
    lines = [HEAD.format(**card, prompts=versions)]
    for name, about in SECTIONS.items():
        lines += [f"## {name.replace('_', ' ').capitalize()}\n", f"{about}\n"]
        lines += ["| split | what | count | of |", "|---|---|---|---|"]
        for split, rows in card[name].items():
            lines += [f"| {split} | {k} | {n['count']} | {n['total']} |" for k, n in rows.items()]
        lines.append("")
    none = card["non_answers_rejected"]
    lines.append(f'No answers at all ("fine", the question read back): {none["count"]} of')
    lines.append(f"{none['total']} are not scored.\n")
    seen, unseen = card["injections_removed"].values()
    lines.append(
        "Orders to whoever judges that are known by their wording, and so left out of what"
    )
    lines.append(
        f"OpenAI is given: {seen['count']} of {seen['total']} in the set (all of which were seen"
    )
    lines.append(
        f"by the writer of the patterns), {unseen['count']} of {unseen['total']} written later.\n"
    )
    lines.append(RAISE)
    lines.append("| list | orders that raise a score | of | scores raised | of |")
    lines.append("|---|---|---|---|---|")
    for name, n in card["injections_that_raise_score"].items():
        counts = [
            n[what][part] for what in ("injections", "answers") for part in ("count", "total")
        ]
        lines.append(f"| {name} | {' | '.join(map(str, counts))} |")
    lines.append("")
    return "\n".join([*lines, *quality_tables.lines(card)])


def measure_speech() -> dict[str, Any]:
    """Return the card's part on hearing and measuring; takes minutes."""
    import quality_metrics
    import quality_speech

    return quality_speech.measure() | quality_metrics.measure()


def main() -> None:
    """Write the card and its page; with `judge` what was heard stays as it was measured."""
    CARD.write_text(json.dumps(measure(), indent=2) + "\n", "utf-8")
    if sys.argv[1:] != ["scoring"]:
        SPEECH.write_text(json.dumps(measure_speech(), indent=2) + "\n", "utf-8")
    PAGE.write_text(page(quality.load_report()), "utf-8")
    print(PAGE.read_text("utf-8"))


if __name__ == "__main__":
    main()
