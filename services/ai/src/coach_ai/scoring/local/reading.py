"""A transcript as vectors: its units, their roles, and how much each of them counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from coach_ai.embeddings import Vectors
from coach_ai.scoring.echo import Span, split_around
from coach_ai.scoring.language import keep_english
from coach_ai.scoring.local.encoders import Encoder
from coach_ai.scoring.local.language_pack import LanguagePack
from coach_ai.scoring.local.models import LogisticModel, Models
from coach_ai.scoring.local.roles import COLUMN, Role
from coach_ai.scoring.local.surface import surface_features
from coach_ai.scoring.local.thresholds import Thresholds, Values, ramp_all
from coach_ai.scoring.units import Unit, split_units

_PIECE_CHARACTERS = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """The units of an answer with everything that is computed once per unit.

    Attributes:
        roles: Mean probabilities of the readings (units, roles).
        variants: Probabilities of each regression alone, for the spread of the score.
        meaning: A unit vector per unit.
        novelty: How much of each unit no earlier unit has said, 0 to 1.
        noise: How surely each unit is an aside or talk to the scorer, 0 to 1.
        shares: By how much each unit counts, 0 to `max_unit_share`: its length, what is new in
            it, whether it belongs to the answer, and whether it is talk to the scorer.
        has_number: Whether a unit has a number.
        parts: The parts of the transcript without the interviewer's question.
        has_other_language: Whether units in another language than English were left out.
    """

    units: tuple[Unit, ...]
    roles: Values
    variants: tuple[Values, ...]
    meaning: Vectors
    novelty: Values
    noise: Values
    shares: Values
    has_number: Values
    parts: tuple[Span, ...]
    has_other_language: bool

    def probability(self, row: int, *roles: Role) -> float:
        """Return the probability that a unit has one of the roles."""
        return float(sum(self.roles[row, COLUMN[role]] for role in roles))


def read_transcript(
    text: str,
    question: Vectors,
    encoder: Encoder,
    models: Models,
    pack: LanguagePack,
    limits: Thresholds,
    echoes: Sequence[Span] = (),
) -> Reading | None:
    """Return the reading of the English part of a text, or None if that has no word.

    `question` is the vector of the question. `echoes` are the places that repeat it: they are not
    read.
    """
    parts = split_around(text, echoes)
    read = _bounded(_split_parts(text, parts), limits.max_word_pieces)
    units = keep_english(text, read)
    if not units:
        return None
    plain = [unit.plain for unit in units]
    form, meaning = encoder.encode(plain)
    surface = np.stack([surface_features(one, pack) for one in plain])
    variants = models.roles.readings(np.hstack((form, surface)))
    roles: Values = np.mean(variants, axis=0)
    similar: Values = (meaning @ meaning.T).astype(np.float64)
    noise = _noise(units, roles, pack, limits)
    closeness: Values = (meaning @ question).astype(np.float64)
    novelty = _novelty(similar, limits)
    shares = (
        _lengths(units, limits)
        * novelty
        * ramp_all(
            belonging(units, similar, closeness, models.belonging, pack, limits),
            limits.belonging,
        )
        * (1 - noise)
    )
    has_number = np.array([pack.number.search(one) is not None for one in plain], float)
    return Reading(
        units,
        roles,
        tuple(variants),
        meaning,
        novelty,
        noise,
        shares,
        has_number,
        tuple(parts),
        len(units) < len(read),
    )


def _split_parts(text: str, parts: Sequence[Span]) -> list[Unit]:
    """Return the units of the parts of a text. No unit or sentence spans two of them."""
    units: list[Unit] = []
    for begin, end in parts:
        sentence = units[-1].sentence + 1 if units else 0
        units += [
            replace(
                unit,
                begin=unit.begin + begin,
                end=unit.end + begin,
                sentence=unit.sentence + sentence,
            )
            for unit in split_units(text[begin:end])
        ]
    return units


def _bounded(units: Sequence[Unit], max_pieces: int) -> tuple[Unit, ...]:
    """Return units with at most so many word pieces, which bounds the time to encode them.

    Two thirds are from the beginning and a third is from the end, where the result is.
    """
    pieces = [sum(map(_estimate_pieces, unit.tokens)) for unit in units]
    if sum(pieces) <= max_pieces:
        return tuple(units)
    first = sum(end <= max_pieces * 2 / 3 for end in accumulate(pieces))
    last = sum(end <= max_pieces / 3 for end in accumulate(reversed(pieces)))
    return (*units[:first], *units[len(units) - last :])


def _estimate_pieces(word: str) -> int:
    """Return about how many pieces the tokenizer makes of a word. Digits are pieces each."""
    return 1 + len(word) // _PIECE_CHARACTERS + sum(map(str.isdigit, word))


def _lengths(units: tuple[Unit, ...], limits: Thresholds) -> Values:
    words = np.array([len(unit.tokens) for unit in units], float)
    clipped: Values = np.clip(
        words / limits.full_unit_words, limits.min_unit_share, limits.max_unit_share
    )
    return clipped


def _novelty(similar: Values, limits: Thresholds) -> Values:
    """Return how much of each unit no earlier unit has said."""
    earlier = np.tril(similar, k=-1).max(axis=1)
    novel: Values = 1 - ramp_all(earlier, limits.novelty)
    return novel


def belonging(
    units: tuple[Unit, ...],
    similar: Values,
    to_question: Values,
    model: LogisticModel,
    pack: LanguagePack,
    limits: Thresholds,
) -> Values:
    """Return the probability that each unit belongs to its answer."""
    return model.probabilities(belonging_features(units, similar, to_question, pack, limits))


def belonging_features(
    units: tuple[Unit, ...],
    similar: Values,
    to_question: Values,
    pack: LanguagePack,
    limits: Thresholds,
) -> Values:
    """Return the features of `belonging`.

    They use the most similar other units and no mean, so that a unit that resembles nothing does
    not change what the others count. A unit that repeats an earlier one supports no other.
    """
    count = len(units)
    others = similar.copy()
    np.fill_diagonal(others, -1.0)
    others[others > limits.near_duplicate] = -1.0
    others[:, np.tril(similar, k=-1).max(axis=1) > limits.novelty[0]] = -1.0
    ranked = np.sort(others, axis=1)[:, ::-1]
    neighbours = np.array(
        [
            max(
                others[row, row - 1] if row else -1.0,
                others[row, row + 1] if row + 1 < count else -1.0,
            )
            for row in range(count)
        ]
    )
    words = [pack.content_words(unit.tokens) for unit in units]
    used: dict[str, set[int]] = {}
    for row, some in enumerate(words):
        for word in some:
            used.setdefault(word, set()).add(row)
    shared = [
        sum(any(others[row, other] > -1.0 for other in used[word]) for word in some)
        for row, some in enumerate(words)
    ]
    return np.stack(
        [
            ranked[:, 0],
            ranked[:, : max(1, min(3, count - 1))].mean(axis=1),
            neighbours,
            to_question,
            np.minimum(shared, 2),
            np.minimum([len(unit.tokens) for unit in units], 15) / 15,
            np.full(count, 1 / max(count, 3)),
        ],
        axis=1,
    )


def _noise(
    units: tuple[Unit, ...], roles: Values, pack: LanguagePack, limits: Thresholds
) -> Values:
    """Return how surely each unit is an aside or talk to the scorer.

    Talk to the scorer reaches over the following units of its sentence: "the coach wrote that I
    called the bank, closed the gap and saved the branch".
    """
    meta = roles[:, COLUMN[Role.META]].copy()
    for row, unit in enumerate(units):
        if pack.addresses_scorer.search(unit.plain):
            meta[row] = 1.0
    noise = ramp_all(meta + roles[:, COLUMN[Role.ASIDE]], limits.noise)
    covered = noise.copy()
    for row in range(len(units)):
        if meta[row] < limits.noise[1]:
            continue
        for later in range(row + 1, min(len(units), row + 1 + limits.meta_reach_units)):
            if units[later].sentence == units[row].sentence:
                covered[later] = max(covered[later], noise[row])
    return covered
