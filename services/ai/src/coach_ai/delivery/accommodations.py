"""Leaves out delivery metrics that are switched off for a user, and remarks about them."""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from coach_ai.domain import Accommodation, Feedback
from coach_ai.text import split_sentences

_METRICS = {
    # A slow speaker, or one who pauses, needs longer for the same answer.
    Accommodation.PACE: ("pace", "pace_steadiness", "articulation_rate", "answer_length"),
    Accommodation.FILLERS: ("discourse_fillers", "filled_pauses"),
    Accommodation.PAUSES: (
        "silent_pauses",
        "pause_length",
        "long_pauses",
        "pauses_inside_clauses",
        "mean_length_of_run",
        "phonation_ratio",
        "filled_pauses",
        "response_latency",
        "answer_length",
    ),
}
_WORDS = {
    Accommodation.PACE: (
        r"pac(?:e|ed|es|ing)|tempo|speaking rate|words (?:per|a) minute|rush\w*"
        r"|slow(?:ed|ing)? down"
        r"|(?:speak|spoke|talk)\w* (?:\w+ )?(?:slow|fast|quick)\w*|(?:slow|fast)\w* speech"
    ),
    Accommodation.FILLERS: r"fillers?|filler words?|filled pauses?|u+h*m+|u+h+|er+m*|hesita\w+",
    Accommodation.PAUSES: r"paus\w+|silen(?:t|ce|ces)|hesita\w+",
}
_ALWAYS = r"stutter\w*|stammer\w*|(?:dis|dys)?fluen\w+"
_NO_TEXT_LEFT = "The answer was scored without its delivery."


def drop_metrics(
    metrics: Mapping[str, Any], accommodations: Collection[Accommodation]
) -> dict[str, Any]:
    """Return the metrics without those that are switched off or depend on them."""
    dropped = {name for one in accommodations for name in _METRICS[one]}
    return {name: metric for name, metric in metrics.items() if name not in dropped}


def drop_remarks(feedback: Feedback, accommodations: Collection[Accommodation]) -> Feedback:
    """Return the feedback without texts about what is switched off. Quotes are not checked."""
    if not accommodations:
        return feedback
    words = re.compile(
        rf"\b(?:{'|'.join([*(_WORDS[one] for one in accommodations), _ALWAYS])})\b", re.IGNORECASE
    )
    main = feedback.main_improvement
    if main is not None and words.search(f"{main.text} {main.drill}"):
        main = None
    kept = [
        one.text
        for one in split_sentences(feedback.detailed_feedback)
        if not words.search(one.text)
    ]
    return replace(
        feedback,
        remarks=tuple(one for one in feedback.remarks if not words.search(one.text)),
        main_improvement=main,
        detailed_feedback=" ".join(kept) or _NO_TEXT_LEFT,
    )
