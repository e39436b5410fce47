"""The next step of an answer, and the summary. Every scored answer gets one next step."""

from collections.abc import Iterator, Mapping
from typing import Any

from coach_ai.domain import Importance, MainImprovement, PointStatus, QuestionType
from coach_ai.scoring.local.analysis import Analysis
from coach_ai.scoring.local.evidence import PRESENT
from coach_ai.scoring.local.roles import COLUMN, Role

_MAX_FACT_WORDS = 12


def next_step(analysis: Analysis) -> MainImprovement:
    """Return the step that raises the score most, with its quote and a sentence to try.

    The sentence continues the speaker's own words. Blanks in brackets are left to the speaker.
    """
    name, row = next(_steps(analysis))
    texts = analysis.pack.texts
    missing = _missing_point(analysis)
    values = {"point": missing or "", "asked": _topic(analysis)}
    sentence = texts[f"try_{name}"].format(**values)
    if name not in ("case", "off_topic", "shorter", "point"):
        sentence = f"“{_shorten(analysis.quote(row))}” … {sentence}"
    return MainImprovement(texts[f"next_{name}"].format(**values), analysis.quote(row), sentence)


def _steps(analysis: Analysis) -> Iterator[tuple[str, int]]:
    """Yield possible steps, the most useful first. Each comes with the unit that it builds on."""
    if analysis.relevance < analysis.limits.off_topic:
        yield "off_topic", 0
    match analysis.question_type:
        case QuestionType.STORY:
            yield from _story_steps(analysis)
        case QuestionType.KNOWLEDGE | QuestionType.CASE:
            yield from _knowledge_steps(analysis)
        case QuestionType.MOTIVE | QuestionType.ABOUT_YOU:
            yield from _claim_steps(analysis)


def _story_steps(analysis: Analysis) -> Iterator[tuple[str, int]]:
    found = analysis.evidence
    step = _strongest(analysis, "action", Role.ACTION)
    result = _strongest(analysis, "outcome", Role.RESULT)
    if found.case < PRESENT:
        yield "case", 0
    if analysis.lacks(Role.ACTION):
        yield "action", _strongest(analysis, "effort", Role.EFFORT)
    if analysis.lacks(Role.RESULT):
        yield "result", step
    elif analysis.lacks(Role.RESULT, with_number=True):
        yield "measure", result
    if analysis.lacks(Role.LESSON):
        yield "lesson", result
    if _speaks_of_group(analysis):
        yield "own_part", step
    if sum(len(unit.tokens) for unit in analysis.reading.units) > analysis.limits.long_answer_words:
        yield "shorter", int(analysis.reading.shares.argmin())
    yield "alternative", step


def _knowledge_steps(analysis: Analysis) -> Iterator[tuple[str, int]]:
    found = analysis.evidence
    if _missing_point(analysis) is not None:
        yield "point", len(analysis.reading.units) - 1
    if analysis.question_type is QuestionType.CASE and found.proposal < PRESENT:
        yield "step", 0
    row = _strongest(analysis, "proposal", Role.PROPOSAL, Role.REASON)
    if found.reason < PRESENT:
        yield "reason", row
    yield "limit", _strongest(analysis, "reason", Role.REASON)


def _claim_steps(analysis: Analysis) -> Iterator[tuple[str, int]]:
    found = analysis.evidence
    if found.case_of_claim < PRESENT and analysis.lacks(Role.ACTION, Role.RESULT):
        yield "proof", _strongest(analysis, "claim", Role.CLAIM, Role.MOTIVE)
    if analysis.question_type is QuestionType.ABOUT_YOU:
        if analysis.lacks(Role.RESULT):
            yield "result", _strongest(analysis, "action", Role.ACTION)
        elif analysis.lacks(Role.RESULT, with_number=True):
            yield "measure", _strongest(analysis, "outcome", Role.RESULT)
    yield "second", _strongest(analysis, "case", Role.RESULT, Role.ACTION)


def _strongest(analysis: Analysis, kind: str, *roles: Role) -> int:
    """Return the unit that adds most to a kind of evidence, or the likeliest for the roles."""
    added = analysis.added[kind]
    if added.max() > 0:
        return int(added.argmax())
    columns = [COLUMN[role] for role in roles]
    return int(analysis.reading.roles[:, columns].sum(axis=1).argmax())


def _speaks_of_group(analysis: Analysis) -> bool:
    words = [word for unit in analysis.reading.units for word in unit.tokens]
    group = sum(word in analysis.pack.first_person_plural for word in words)
    return group > sum(word in analysis.pack.first_person for word in words)


def _missing_point(analysis: Analysis) -> str | None:
    """Return the first expected point that is not covered, a required one if there is one."""
    missing = [one for one in analysis.points if one.status is not PointStatus.COVERED]
    required = [one for one in missing if one.importance is Importance.MUST]
    return next((one.text for one in (*required, *missing)), None)


def _topic(analysis: Analysis) -> str:
    return "[what the question asks for]" if analysis.answer.question else "[topic]"


def _shorten(quote: str) -> str:
    words = quote.rstrip(".,;").split()
    return " ".join(words[:_MAX_FACT_WORDS]) + (" …" if len(words) > _MAX_FACT_WORDS else "")


def summarise(analysis: Analysis, step: MainImprovement, metrics: Mapping[str, Any]) -> str:
    """Return the detailed feedback: what was found, what is missing, and the next step."""
    texts = analysis.pack.texts
    present, missing = _parts(analysis)
    sentences = []
    if analysis.relevance < analysis.limits.off_topic:
        sentences.append(texts["improvement_off_topic"])
    elif analysis.question_type is QuestionType.STORY and analysis.evidence.case < PRESENT:
        sentences.append(texts["improvement_vague_relevant"])
    if present:
        sentences.append(texts["found"].format(parts=_join(present)))
    else:
        sentences.append(texts["found_nothing"])
    if present and missing:
        sentences.append(texts["missing"].format(parts=_join(missing)))
    sentences.append(texts["next"].format(text=step.text, sentence=step.drill))
    outside = [
        f"{name.replace('_', ' ')} {metric['value']} {metric['unit']}"
        f" ({metric['verdict']} the usual range)"
        for name, metric in metrics.items()
        if isinstance(metric, dict) and metric["verdict"] in ("below", "above")
    ]
    if outside:
        sentences.append(texts["delivery"].format(metrics="; ".join(outside)))
    if analysis.question_type is QuestionType.KNOWLEDGE and analysis.technical_level is None:
        sentences.append(texts["not_checked"])
    if analysis.reading.has_other_language:
        sentences.append(texts["other_language"])
    return " ".join(sentences)


def _parts(analysis: Analysis) -> tuple[list[str], list[str]]:
    """Return the names of the parts that are present, and of those that are missing.

    A part that is neither surely present nor surely missing is in neither list.
    """
    found = analysis.evidence
    match analysis.question_type:
        case QuestionType.STORY:
            parts = {
                "scene": (found.scene, Role.SCENE),
                "action": (found.action, Role.ACTION),
                "result": (found.result, Role.RESULT),
                "lesson": (found.lesson, Role.LESSON),
            }
        case QuestionType.KNOWLEDGE:
            parts = {"reason": (found.reason, Role.REASON)}
        case QuestionType.CASE:
            parts = {
                "proposal": (found.proposal, Role.PROPOSAL),
                "reason": (found.reason, Role.REASON),
            }
        case _:
            parts = {
                "claim": (found.claim, Role.CLAIM),
                "action": (found.action_of_claim, Role.ACTION),
                "result": (found.outcome, Role.RESULT),
            }
    names = {part: analysis.pack.texts[f"part_{part}"] for part in parts}
    present = [names[part] for part, (share, _) in parts.items() if share >= PRESENT]
    missing = [
        names[part]
        for part, (share, role) in parts.items()
        if share < PRESENT and analysis.lacks(role)
    ]
    return present, missing


def _join(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" and {names[-1]}"


def story_parts(analysis: Analysis) -> dict[str, str | None]:
    """Return the quote of each part of a story, None for a part that is not surely there."""
    if analysis.question_type is not QuestionType.STORY:
        return {}
    rows = range(len(analysis.reading.units))
    duties = [
        row
        for row in rows
        if analysis.pack.duty.search(analysis.reading.units[row].plain)
        and analysis.reading.probability(row, Role.SCENE) >= PRESENT
    ]
    found = {
        "situation": analysis.best_unit("scene", Role.SCENE),
        "task": duties[0] if duties else None,
        "action": analysis.best_unit("action", Role.ACTION),
        "result": analysis.best_unit("result", Role.RESULT),
    }
    return {part: None if row is None else analysis.quote(row) for part, row in found.items()}
