"""What the rule-based interviewer says: phrases of the persona around a decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from coach_ai.interview.flow import Decision, Step
from coach_ai.interview.model import (
    DepthProbe,
    Gap,
    GapKind,
    Manner,
    Persona,
    PlannedQuestion,
    Position,
    WordingMethod,
)

SUBJECTS = (*(kind for kind in GapKind if kind is not GapKind.DEPTH), *DepthProbe)
"""What follow-ups ask for. Each has phrases."""


@dataclass(frozen=True, slots=True)
class Phrases:
    """The phrases of all personas."""

    notices: Mapping[str, str]
    positions: Mapping[str, str]
    manners: Mapping[str, Mapping[str, str]]
    follow_ups: Mapping[str, tuple[str, ...]]
    topics: Mapping[str, tuple[str, ...]]
    """Beginnings of words, one of which a language model's follow-up has."""
    hints: Mapping[str, str]


@cache
def load_phrases() -> Phrases:
    """Return the phrases that ship.

    Raises:
        KeyError: If a manner, a position or a subject of follow-ups has no phrase.
    """
    text = (files("coach_ai.interview") / "personas.yaml").read_text("utf-8")
    found = yaml.safe_load(text)
    return Phrases(
        notices={one: found["notices"][one] for one in WordingMethod},
        positions={one: found["positions"][one] for one in Position},
        manners={one: found["manners"][one] for one in Manner},
        follow_ups={one: tuple(found["follow_ups"][one]) for one in SUBJECTS},
        topics={one: tuple(found["topics"][one]) for one in SUBJECTS},
        hints=found["hints"],
    )


def write_opening(
    persona: Persona,
    first: PlannedQuestion,
    method: WordingMethod = WordingMethod.RULES,
    quote: str = "",
) -> str:
    """Return the greeting, the notice of how this interviewer works, and a question.

    `quote` is a sentence of the candidate's résumé. It is quoted as it is.
    """
    phrases = load_phrases()
    manner = phrases.manners[persona.manner]
    return " ".join(
        (
            manner["opening"],
            phrases.positions[persona.position],
            phrases.notices[method],
            *([f"You wrote: “{quote}”"] if quote else []),
            manner["first"],
            first.question.text,
        )
    )


def write_response(persona: Persona, decision: Decision) -> str:
    """Return the interviewer's words for a decision. It never contains an expected point."""
    phrases = load_phrases()
    manner = phrases.manners[persona.manner]
    question = decision.question
    match decision.step:
        case Step.FOLLOW_UP if decision.gap is not None:
            lead = manner["depth" if decision.gap.kind is GapKind.DEPTH else "follow_up"]
            return f"{lead} {_write_follow_up(decision.gap, decision.follow_ups)}"
        case Step.NEXT if question is not None:
            lead = manner["skip" if decision.is_skipped else "next"]
            return f"{lead} {question.question.text}"
        case Step.REPEAT if question is not None:
            return f"{manner['repeat']} {decision.repeated or question.question.text}"
        case Step.ASK_AGAIN if question is not None:
            return f"{manner['no_answer']} {decision.repeated or question.question.text}"
        case Step.HINT if question is not None:
            return f"{manner['hint']} {phrases.hints[question.question.type]}"
        case Step.WAIT:
            return manner["moment"]
        case Step.LISTEN:
            return manner["listen"]
        case _:
            return manner["closing"]


def write_probe(gap: Gap, earlier: int) -> str:
    """Return the question of a follow-up without its quote. `earlier` counts former ones."""
    wordings = load_phrases().follow_ups[gap.subject]
    return wordings[earlier % len(wordings)]


def _write_follow_up(gap: Gap, earlier: int) -> str:
    return f"You said: “{gap.quote}” {write_probe(gap, earlier)}"
