"""Rewrites without a language model: the template, with the roles that the local scorer finds."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace

from coach_ai.domain import Answer, Feedback, QuestionType
from coach_ai.domain.rewrites import Rewrite
from coach_ai.rewriting import template
from coach_ai.rewriting.own_sentences import OwnSentence, list_own_sentences, read_answer
from coach_ai.rewriting.template import Layout, Part
from coach_ai.scoring.local.analysis import Analysis
from coach_ai.scoring.local.roles import Role
from coach_ai.scoring.local.scorer import LocalScorer
from coach_ai.token_usage import TokenUsage
from coach_common.errors import Unavailable

_ROLES = {
    Part.SITUATION: (Role.SCENE,),
    Part.ACTION: (Role.ACTION, Role.EFFORT),
    Part.RESULT: (Role.RESULT, Role.LESSON),
}
_ENDINGS = (*_ROLES[Part.RESULT], Role.ENDING)
"""An outcome without content counts as a result only after the last step."""
_MIN_PROBABILITY = 0.5
_DEADLINE_SECONDS = 30.0


class LocalRewriter:
    """A Rewriter without a language model. Deterministic.

    It moves and cleans sentences and writes none. Sentences in another language than English are
    not read: they keep their place.
    """

    def __init__(self, get_scorer: Callable[[], LocalScorer]) -> None:
        self._get_scorer = get_scorer

    def max_tokens_needed(self, answer: Answer, feedback: Feedback) -> int:
        """Return 0: no language model is used."""
        return 0

    async def rewrite(self, answer: Answer, feedback: Feedback, usage: TokenUsage) -> Rewrite:
        """Rewrite in a thread, because the analysis takes processor time.

        Raises:
            Unavailable: If the deadline passes.
        """
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                return await asyncio.to_thread(self.rewrite_answer, answer, feedback)
        except TimeoutError as error:
            raise Unavailable("The rewrite took too long. Please try again.") from error

    def rewrite_answer(self, answer: Answer, feedback: Feedback) -> Rewrite:
        """Return the rewrite of an answer."""
        scorer = self._get_scorer()
        text = read_answer(answer)
        sentences = list_own_sentences(text, answer.question)
        question_type = feedback.question_type or scorer.question_type(answer)
        analysis = scorer.analyse(replace(answer, text=text, reference=None), {})
        if analysis is None:
            return template.write_from_feedback(answer, feedback)
        model = f"{template.MODEL} {scorer.model}"
        notes = [template.OTHER_LANGUAGE_NOTE] if analysis.reading.has_other_language else []
        if question_type is QuestionType.STORY:
            written = template.write_story(sentences, _place_story(analysis, sentences), *notes)
        else:
            blanks = {1: list_missing(analysis, question_type)}
            layout = Layout([0] * len(sentences), blanks)
            written = template.write_without_story(sentences, feedback, layout, *notes)
        return replace(written, model=model)

    async def check(self) -> None:
        """The local rewriter is always available."""

    async def close(self) -> None:
        """Do nothing."""


def list_missing(analysis: Analysis, question_type: QuestionType) -> list[str]:
    """Return the blanks of an answer that is no story and has no expected points."""
    if question_type in (QuestionType.MOTIVE, QuestionType.ABOUT_YOU):
        lacks_proof = analysis.lacks(Role.ACTION, Role.RESULT, Role.EXPERIENCE)
        return [template.PROOF_BLANK] if lacks_proof else []
    missing = []
    if question_type is QuestionType.CASE and analysis.lacks(Role.PROPOSAL):
        missing.append(template.PROPOSAL_BLANK)
    if analysis.lacks(Role.REASON):
        missing.append(template.REASON_BLANK)
    return missing


def _place_story(analysis: Analysis, sentences: Sequence[OwnSentence]) -> Layout:
    """Return the places of sentences by the roles of their units."""
    units_of = _group_units(analysis, sentences)
    groups = [_find_part(analysis, units) for units in units_of]
    last_step = max((row for row, part in enumerate(groups) if part is Part.ACTION), default=-1)
    for row in range(last_step + 1, len(groups)):
        if groups[row] is None and _share(analysis, units_of[row], _ENDINGS) >= _MIN_PROBABILITY:
            groups[row] = Part.RESULT
    return Layout(groups, {part: [text] for part, text in _list_story_blanks(analysis).items()})


def _list_story_blanks(analysis: Analysis) -> dict[Part, str]:
    """Return the blank of each part that surely lacks something."""
    blanks = {}
    if analysis.lacks(Role.SCENE):
        blanks[Part.SITUATION] = template.BLANKS[Part.SITUATION]
    if not any(_is_duty(analysis, row) for row in range(len(analysis.reading.units))):
        blanks[Part.TASK] = template.BLANKS[Part.TASK]
    if analysis.lacks(Role.ACTION):
        blanks[Part.ACTION] = template.BLANKS[Part.ACTION]
    elif _acts_as_group(analysis):
        blanks[Part.ACTION] = template.OWN_PART_BLANK
    if analysis.surest_unit(Role.RESULT, at_least=_MIN_PROBABILITY) is None:
        blanks[Part.RESULT] = template.BLANKS[Part.RESULT]
    elif analysis.lacks(Role.RESULT, with_number=True):
        blanks[Part.RESULT] = template.FIGURE_BLANK
    return blanks


def _group_units(analysis: Analysis, sentences: Sequence[OwnSentence]) -> list[list[int]]:
    """Return the rows of the units that begin in each sentence."""
    rows: list[list[int]] = [[] for _ in sentences]
    begins = [one.begin for one in sentences]
    for row, unit in enumerate(analysis.reading.units):
        at = bisect_right(begins, unit.begin) - 1
        if at >= 0 and unit.begin < sentences[at].end:
            rows[at].append(row)
    return rows


def _find_part(analysis: Analysis, units: Sequence[int]) -> Part | None:
    """Return the part that most words of a sentence belong to, or None if none is likely."""
    shares = {part: _share(analysis, units, roles) for part, roles in _ROLES.items()}
    part = max(shares, key=lambda one: shares[one])
    if shares[part] < _MIN_PROBABILITY:
        return None
    is_duty = _is_duty(analysis, units[0]) and len(units) == 1
    return Part.TASK if is_duty and part is not Part.RESULT else part


def _share(analysis: Analysis, units: Sequence[int], roles: Sequence[Role]) -> float:
    """Return how likely the words of these units have one of the roles. 0 without units."""
    words = [len(analysis.reading.units[row].tokens) for row in units]
    likely = sum(
        count * analysis.reading.probability(row, *roles)
        for row, count in zip(units, words, strict=True)
    )
    return likely / max(1, sum(words))


def _is_duty(analysis: Analysis, row: int) -> bool:
    """Return whether a unit says what the speaker had to do."""
    return analysis.pack.duty.search(analysis.reading.units[row].plain) is not None


def _acts_as_group(analysis: Analysis) -> bool:
    """Return whether more steps are those of "we" than of "I"."""
    steps = [
        frozenset(unit.tokens)
        for row, unit in enumerate(analysis.reading.units)
        if analysis.reading.probability(row, Role.ACTION) >= _MIN_PROBABILITY
    ]
    own = sum(bool(words & analysis.pack.first_person) for words in steps)
    return own < sum(
        bool(words & analysis.pack.first_person_plural) and not words & analysis.pack.first_person
        for words in steps
    )
