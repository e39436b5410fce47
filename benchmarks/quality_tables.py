"""The tables of the quality report about transcription, delivery metrics and repeatability."""

from collections.abc import Iterator
from typing import Any


def lines(report: dict[str, Any]) -> list[str]:
    """Return the sections about transcription, delivery metrics, repeatability and robustness."""
    return [
        *_goals(report),
        *_held_out(report["held_out_sets"]),
        *_probes(report["probes"]),
        *_word_errors(report),
        *_metric_errors(report),
        *_repeatability(report),
        *_robustness(report),
    ]


def _goals(report: dict[str, Any]) -> Iterator[str]:
    goals = report["goals"]
    missed = [one["name"] for one in goals if one["is_reached"] is False]
    yield "## Goals\n"
    yield (
        "Measured once on the sets in `tests/heldout`, which were written without sight of the"
        " scorer and are never used\nto change it. The time is measured on the machine that wrote"
        " this report.\n"
    )
    if missed:
        yield f"**Not reached: {'; '.join(missed)}.**\n"
    yield "| measure | goal | measured | reached |\n|---|---|---|---|"
    for one in goals:
        sign = "≥" if one["is_at_least"] else "≤"
        value = "not measured" if one["value"] is None else f"{one['value']:g}"
        reached = {True: "yes", False: "**no**", None: "unknown"}[one["is_reached"]]
        yield f"| {one['name']} | {sign} {one['goal']:g} | {value} | {reached} |"
    yield ""


def _held_out(found: dict[str, Any]) -> Iterator[str]:
    yield "## Held-out sets\n"
    means = ", ".join(f"{level}: {mean}" for level, mean in sorted(found["level_means"].items()))
    yield f"Mean scores by level: {means}.\n"
    yield "| what | class | count | of |\n|---|---|---|---|"
    rows = [("in order", name, n) for name, n in found["ordering"].items()]
    rows += [
        (expected, name, n)
        for expected, classes in found["pairs"].items()
        for name, n in classes.items()
    ]
    rows += [("raised by additions", name, n) for name, n in found["additions"].items()]
    rows += [("technical", name, n) for name, n in found["technical"].items()]
    rows += [("rejected for its language", name, n) for name, n in found["languages"].items()]
    for what, name, n in rows:
        yield f"| {what} | {_label(name)} | {n['count']} | {n['total']} |"
    yield "\n| expected points | precision | recall | labels |\n|---|---|---|---|"
    for name in ("covered", "contradicted", "misconceptions"):
        rates = found["points"][name]
        yield f"| {name} | {rates['precision']} | {rates['recall']} | {rates['labels']} |"
    yield ""


def _probes(probes: dict[str, Any]) -> Iterator[str]:
    means = probes["level_means"]
    yield "## Levels and scores\n"
    yield "![Scores by level, with their spread](quality.svg)\n"
    yield (
        "Mean score of the answers of each level that the scorer was developed with. Two"
        f" neighbouring levels from 2 to 5 are\n{probes['level_distance']} points apart on"
        f" average. Of knowledge questions, {probes['unchecked_questions']} have no points and no"
        " overall score.\n"
    )
    yield "| level | mean score |\n|---|---|"
    yield from (f"| {level} | {mean} |" for level, mean in sorted(means.items()))
    yield "\n| question type | pairs in order | of |\n|---|---|---|"
    yield from (
        f"| {_label(name)} | {n['count']} | {n['total']} |"
        for name, n in probes["ordering"].items()
    )
    yield "\n## Pairs by class\n"
    yield (
        "`same`: within 5 points. `lower`: more than 5 points lower. `not_higher`: not above. The"
        " pairs were seen during development.\nNoise is the root mean square difference of `same`"
        f" pairs: {probes['noise_points']} points, {probes['noise']} of the distance between two"
        " levels.\n"
    )
    yield "| expected | class | count | of |\n|---|---|---|---|"
    for expected, classes in probes["pairs"].items():
        for name, n in classes.items():
            yield f"| {expected} | {_label(name)} | {n['count']} | {n['total']} |"
    yield "\n| pieces without content added at random | scores raised | of |\n|---|---|---|"
    yield from (
        f"| {name} | {n['count']} | {n['total']} |" for name, n in probes["additions"].items()
    )
    yield "\n| technical questions | count | of |\n|---|---|---|"
    yield from (
        f"| {_label(name)} | {n['count']} | {n['total']} |"
        for name, n in probes["technical"].items()
    )
    yield "\n| texts rejected for their language | count | of |\n|---|---|---|"
    yield from (
        f"| {name} | {n['count']} | {n['total']} |" for name, n in probes["languages"].items()
    )
    refused = probes["relevant_rejected"]
    yield (
        f"\nRelevant but vague answers that are rejected: {refused['count']} of"
        f" {refused['total']}.\n"
    )


def _word_errors(report: dict[str, Any]) -> Iterator[str]:
    yield "## Word errors\n"
    yield (
        "Wrong words of `{speech_model}` on recordings in the repository: a human reader of five"
        " sentences of a\nnovel, and the demo's answer by a synthetic voice. There are no accents,"
        " rooms or phone microphones among\nthem, so this is an indication only.\n"
    ).format(**report)
    yield "| speaker | wrong | of | share |\n|---|---|---|---|"
    for speaker, n in report["word_errors"].items():
        share = n["count"] / n["total"]
        yield f"| {_label(speaker)} | {n['count']} | {n['total']} | {share:.1%} |"
    yield ""


def _metric_errors(report: dict[str, Any]) -> Iterator[str]:
    yield "## Synthetic ground truth\n"
    yield (
        "Largest error of each delivery metric against a known value: in generated streams of"
        " words, pauses and\nfillers (the rest is rounding), in synthetic voices with known pitch"
        " and pauses, also louder, softer, resampled\nand in noise, and for syllables in sentences"
        " whose syllables were counted by hand.\n"
    )
    yield "| input | metric | worst error | unit | goal | n |\n|---|---|---|---|---|---|"
    for where, metrics in report["metric_errors"].items():
        for name, one in metrics.items():
            goal = "" if one["goal"] is None else f"{one['goal']:g}"
            yield (
                f"| {_label(where)} | `{name}` | {one['worst']:g} | {one['unit']} | {goal} |"
                f" {one['n']} |"
            )
    found, false = report["filled_pauses_detected"], report["filled_pauses_false"]
    yield (
        f"\nSynthetic filled pauses inserted into read speech: {found['count']} of"
        f" {found['total']} are detected. Of {false['total']}\ndetections {false['count']} are"
        " false.\n"
    )


def _repeatability(report: dict[str, Any]) -> Iterator[str]:
    result = report["repeatability"]
    yield "## Repeatability\n"
    yield (
        f"Scored {result['repetitions']} times each, the scores of {result['answers']} answers"
        f" differ by at most {result['max_spread']} points.\n"
    )
    yield (
        "Feedback may state a `score_spread`, the difference between readings of one answer. The"
        " local scorer of rubric 4 states\none for 108 of these answers: the median is 1.8 points,"
        " nine of ten are below 10, and the largest is 23.7. Feedback without\none is compared"
        " with 10 points ([progress.md](progress.md#attempts-at-a-question)).\n"
    )


def _robustness(report: dict[str, Any]) -> Iterator[str]:
    yield "## Robustness to audio changes\n"
    yield (
        "A recording is transcribed, scored and measured again after each change that may happen"
        " on its way to the\nserver. The score is that of the transcript. The read sentences do"
        " not answer the question and have no score.\n"
    )
    yield "| recording | change | different words | of | score | original score |"
    yield "|---|---|---|---|---|---|"
    for recording, found in report["audio_robustness"].items():
        for change, one in found["changes"].items():
            words = one["words"]
            yield (
                f"| {_label(recording)} | {change} | {words['count']} | {words['total']} |"
                f" {_score(one['score'])} | {_score(found['score'])} |"
            )
    yield "\n| recording | metric | original | minimum | maximum | unit | different verdicts |"
    yield "|---|---|---|---|---|---|---|"
    for recording, found in report["audio_robustness"].items():
        for name, one in found["metrics"].items():
            yield (
                f"| {_label(recording)} | `{name}` | {one['first']:g} | {one['minimum']:g} |"
                f" {one['maximum']:g} | {one['unit']} | {one['verdicts']} |"
            )
    yield ""


def _label(name: str) -> str:
    return name.replace("_", " ")


def _score(score: int | None) -> str:
    return "none" if score is None else str(score)
