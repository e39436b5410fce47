"""The page's tables on hearing and measuring, from the card."""

from collections.abc import Iterator
from typing import Any


def lines(card: dict[str, Any]) -> list[str]:
    """Return what the card says of speech, of the figures of delivery, and of doing it again."""
    return [*_word_errors(card), *_metric_errors(card), *_again(card)]


def _word_errors(card: dict[str, Any]) -> Iterator[str]:
    yield "## Word errors\n"
    yield (
        "Wrong words of those that were said, by `{speech_model}`, on recordings that are in the"
        " tree: a human\nreader of five sentences of a novel, and the demo's answer by a synthetic"
        " voice. No accent, no room, no\nphone's microphone is among them: an indication.\n"
    ).format(**card)
    yield "| speaker | wrong | of | share |\n|---|---|---|---|"
    for speaker, n in card["word_errors"].items():
        yield f"| {_named(speaker)} | {n['count']} | {n['total']} | {n['count'] / n['total']:.1%} |"
    yield ""


def _metric_errors(card: dict[str, Any]) -> Iterator[str]:
    yield "## Errors of the figures of delivery\n"
    yield (
        "The worst error against a truth that was planted: in streams of words, pauses and fillers"
        " made by\narithmetic (what is left is rounding); in voices of known pitch and pauses,"
        " louder, softer, resampled and\nin noise; and for syllables, which articulation is made"
        " of, in sentences whose syllables were counted by\nhand.\n"
    )
    yield "| planted in | figure | worst error | unit | goal | n |\n|---|---|---|---|---|---|"
    for where, figures in card["metric_errors"].items():
        for name, one in figures.items():
            goal = "" if one["goal"] is None else f"{one['goal']:g}"
            yield (
                f"| {_named(where)} | `{name}` | {one['worst']:g} | {one['unit']} | {goal} |"
                f" {one['n']} |"
            )
    found, false = card["filled_pauses_detected"], card["filled_pauses_false"]
    yield (
        f'\nOf {found["total"]} "uh" and "um" made by arithmetic and spliced into read speech'
        f" {found['count']} are found by their\nsound; of {false['total']} found"
        f" {false['count']} are none.\n"
    )


def _again(card: dict[str, Any]) -> Iterator[str]:
    judged = card["repeatability"]
    yield "## The same answer again\n"
    yield (
        f"Judged {judged['repetitions']} times each, {judged['answers']} answers keep their scores"
        f" within {judged['max_spread']} points. Heard again after what may\nhappen to a sound on"
        " its way, a recording's words, score and figures change so far. The score is of the\nwords"
        " heard; the read sentences are no answer to the question, and have none.\n"
    )
    yield "| recording | change | other words | of | score | score at first |"
    yield "|---|---|---|---|---|---|"
    for recording, found in card["audio_robustness"].items():
        for way, one in found["changes"].items():
            yield (
                f"| {_named(recording)} | {way} | {one['words']['count']} |"
                f" {one['words']['total']} | {_shown(one['score'])} | {_shown(found['score'])} |"
            )
    yield "\n| recording | figure | at first | least | most | unit | verdicts |"
    yield "|---|---|---|---|---|---|---|"
    for recording, found in card["audio_robustness"].items():
        for name, one in found["metrics"].items():
            yield (
                f"| {_named(recording)} | `{name}` | {one['first']:g} | {one['minimum']:g} |"
                f" {one['maximum']:g} | {one['unit']} | {one['verdicts']} |"
            )
    yield ""


def _named(name: str) -> str:
    return name.replace("_", " ")


def _shown(score: int | None) -> str:
    return "none" if score is None else str(score)
