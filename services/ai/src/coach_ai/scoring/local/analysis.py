"""Everything that is known about an answer. Built once, read by every dimension."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from coach_ai.domain import Answer, PointCoverage, PointStatus, QuestionType, Remark, Seniority
from coach_ai.scoring.local.evidence import Evidence, collect_evidence, weigh_units
from coach_ai.scoring.local.language_pack import LanguagePack
from coach_ai.scoring.local.reading import Reading
from coach_ai.scoring.local.roles import COLUMN, Role
from coach_ai.scoring.local.thresholds import Thresholds, Values, ramp, ramp_all
from coach_ai.scoring.quotes import make_remark
from coach_ai.text import Sentence, split_sentences


@dataclass(frozen=True)
class Analysis:
    """An answer with its evidence.

    Attributes:
        relevance: Probability that the answer is meant for its question; 1 without a question.
        answering: Probability that the text answers any interview question; 1 if
            nothing can tell.
        points: Coverage of the expected points. Empty if the question has none.
        technical_score: Score of what is right, 0 to 100. None if nothing was checked.
        metrics: Delivery metrics as JSON.
    """

    answer: Answer
    question_type: QuestionType
    reading: Reading
    evidence: Evidence
    relevance: float
    answering: float
    metrics: Mapping[str, Any]
    pack: LanguagePack
    limits: Thresholds
    points: tuple[PointCoverage, ...] = ()
    technical_score: int | None = None

    @property
    def seniority(self) -> Seniority:
        """The level that the answer is scored for. Mid if the session names none."""
        return self.answer.seniority or Seniority.MID

    @property
    def technical_level(self) -> float | None:
        """The level of what is right, 1 to 5. None if nothing was checked."""
        return None if self.technical_score is None else 1 + self.technical_score / 25

    @property
    def is_about_speaker(self) -> bool:
        """True if the question asks for motives or for the person."""
        return self.question_type in (QuestionType.MOTIVE, QuestionType.ABOUT_YOU)

    @property
    def gate(self) -> float:
        """By how much the evidence counts: all of it only if the answer is relevant."""
        least = self.limits.least_relevance_share
        return least + (1 - least) * ramp(self.relevance, self.limits.relevance)

    @cached_property
    def focus(self) -> float:
        """Share of the words that are neither general, repeated, an aside nor talk to the
        scorer."""
        roles = self.reading.roles
        idle = roles[:, COLUMN[Role.GENERAL]] + roles[:, COLUMN[Role.META]]
        idle = idle + roles[:, COLUMN[Role.ASIDE]]
        words = [len(unit.tokens) for unit in self.reading.units]
        useful = (1 - ramp_all(idle, self.limits.idle)) * self.reading.novelty
        return float(useful @ words) / sum(words)

    @cached_property
    def own_text(self) -> str:
        """The text without talk to the scorer and asides: what has to be long enough."""
        return " ".join(
            unit.text
            for unit, noise in zip(self.reading.units, self.reading.noise, strict=True)
            if noise < 1
        )

    @cached_property
    def sentences(self) -> list[Sentence]:
        """The sentences of the transcript, without the interviewer's question."""
        return [
            replace(sentence, begin=sentence.begin + begin)
            for begin, end in self.reading.parts
            for sentence in split_sentences(self.answer.text[begin:end])
        ]

    @property
    def is_off_topic(self) -> bool:
        """True if the text answers no interview question, and covers no expected point."""
        if any(one.status is not PointStatus.MISSING for one in self.points):
            return False
        low, high = self.limits.answering
        if self.relevance >= self.limits.relevant:
            return self.answering < low
        has_content = float(self.reading.shares.sum()) >= self.limits.least_shares
        return self.answering < high or not has_content

    @cached_property
    def added(self) -> Mapping[str, Values]:
        """What each unit adds to each kind of evidence."""
        return weigh_units(self.reading.roles, self.reading, self.limits)

    def read_as(self, roles: Values) -> "Analysis":
        """Return the analysis by another matrix of role probabilities."""
        return replace(self, evidence=collect_evidence(roles, self.reading, self.limits))

    def best_unit(self, kind: str, *roles: Role) -> int | None:
        """Return the unit that adds most to a kind of evidence and surely has one of the roles.

        None if no unit is sure enough for a remark.
        """
        candidates = [
            (float(self.added[kind][row]), -row)
            for row in range(len(self.reading.units))
            if self.reading.probability(row, *roles) >= self.limits.remark
            and self.added[kind][row] >= self.limits.remark_share
        ]
        return -max(candidates)[1] if candidates else None

    def surest_unit(self, role: Role, *, at_least: float | None = None) -> int | None:
        """Return the unit that most surely has a role, or None if none is sure enough."""
        rows = range(len(self.reading.units))
        best = max(rows, key=lambda row: self.reading.probability(row, role))
        least = self.limits.remark if at_least is None else at_least
        return best if self.reading.probability(best, role) >= least else None

    def lacks(self, *roles: Role, with_number: bool = False) -> bool:
        """Return whether no unit may have one of the roles, so that a remark can say so.

        A role that some unit may have is neither praised nor missed. With `with_number`, only
        units that have a number count.
        """
        rows = range(len(self.reading.units))
        return all(
            self.reading.probability(row, *roles) < self.limits.absent
            for row in rows
            if self.reading.has_number[row] or not with_number
        )

    def quote(self, row: int) -> str:
        """Return the text of a unit, as it stands in the transcript."""
        return self.reading.units[row].text

    def remark(self, kind: str, dimension: str, row: int, text: str, **values: object) -> Remark:
        """Return a remark on a unit. `text` names a text of the language pack."""
        sentence = self.pack.texts[text].format(**values)
        return make_remark(self.answer, kind, dimension, sentence, self.quote(row))
