"""The tables of the quality report about transcription, delivery metrics and repeatability."""

from collections.abc import Iterator
from typing import Any


def lines(report: dict[str, Any]) -> list[str]:
    """Return the sections about transcription, delivery metrics, repeatability and robustness."""
    return [
        *_word_errors(report),
        *_metric_errors(report),
        *_repeatability(report),
        *_robustness(report),
    ]


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
