"""The quality card: what the local judge does with graded answers, by split; no network.

Writes `coach_ai/quality/card.json`, which `GET /v1/quality` serves, and `docs/quality.md`.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from coach_ai import quality
from coach_ai.adapters import embeddings, local_judge
from coach_ai.domain import Answer
from coach_ai.rubric import load

ROOT = Path(__file__).parents[1]
GRADED = ROOT / "services" / "ai" / "tests" / "graded"
CARD = Path(quality.__file__).with_name("card.json")
PAGE = ROOT / "docs" / "quality.md"

HEAD = """# How good the judge is

Written by `make quality`, from real runs; `GET /v1/quality` serves the same figures. The
{provider} judge `{model}`, rubric {rubric_version}.

The answers are written, not recorded, by hands that nobody has checked: the levels are one
writer's. `first_set` was written by one who had read the judge's cues, so it flatters; `tuning` and
`held_out` were written without sight of the judge. `second` was written before the signals were
rewritten, by the hand that did it. `held_out` and `second` are only counted, never tuned on.

**Human agreement: {human_agreement}.** Word error rates and metric errors are not on this card yet.
The OpenAI judge is not on it: its figures need a key.
"""
SECTIONS = {
    "ordering": "Pairs of answers two or more levels apart that come out in the right order"
    " (a tie is wrong). The goal is nine of ten.",
    "not_scored": "Answers that are refused. Of level 1 they should be; of levels 3 to 5 every one"
    " is a false refusal.",
    "changes": "Answers changed by hand whose score goes where it should: down where the result,"
    " the action or the question's topic is cut, not up for the others.",
}


def measure() -> dict[str, Any]:
    """Return the card."""
    folder = embeddings.installed()
    keep = embeddings.default_keep()
    judge = local_judge.LocalJudge(embeddings.Embeddings(folder, keep) if folder else None)

    def score(question: str, text: str) -> int | None:
        return judge.judge(Answer("Practice", question, text, "en")).overall_score

    blind = yaml.safe_load((GRADED / "blind.yaml").read_text("utf-8"))["answers"]
    first = yaml.safe_load((GRADED / "answers.yaml").read_text("utf-8"))["answers"]
    second = yaml.safe_load((GRADED / "second.yaml").read_text("utf-8"))["answers"]
    known = [one | {"split": "first_set", "kind": "behavioural"} for one in first]
    changed = yaml.safe_load((GRADED / "metamorphic.yaml").read_text("utf-8"))
    return {
        "provider": local_judge.PROVIDER,
        "model": judge.model,
        "rubric_version": load().version,
        "human_agreement": "not measured",
        **quality.count(score, [*blind, *known, *second], changed),
    }


def page(card: dict[str, Any]) -> str:
    """Return the card as a page."""
    lines = [HEAD.format(**card)]
    for name, about in SECTIONS.items():
        lines += [f"## {name.replace('_', ' ').capitalize()}\n", f"{about}\n"]
        lines += ["| split | what | count | of |", "|---|---|---|---|"]
        for split, rows in card[name].items():
            lines += [f"| {split} | {k} | {n['count']} | {n['of']} |" for k, n in rows.items()]
        lines.append("")
    none = card["no_answers_not_scored"]
    lines.append(f'No answers at all ("fine", the question read back): {none["count"]} of')
    lines.append(f"{none['of']} are not scored.\n")
    return "\n".join(lines)


if __name__ == "__main__":
    found = measure()
    CARD.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    PAGE.write_text(page(found), "utf-8")
    print(PAGE.read_text("utf-8"))
