"""Surface features of a unit: person, tense, mood and numbers, by its words."""

import numpy as np
from numpy.typing import NDArray

from coach_ai.scoring.local.language_pack import LanguagePack

_VERB_REACH = 3
"""How many words behind its subject a verb may stand."""
_VAGUE_SCALE = 5.0
_LONG_UNIT_WORDS = 24


def surface_features(plain: str, pack: LanguagePack) -> NDArray[np.float32]:
    """Return the features of a unit's plain text, most of them 0 or 1."""
    words = plain.split()
    present = set(words)
    past = [pack.is_past(word) for word in words]
    numbers = len(pack.number.findall(plain))

    def acts(subjects: frozenset[str]) -> bool:
        return any(
            any(past[at + 1 : at + 1 + _VERB_REACH])
            for at, word in enumerate(words)
            if word in subjects
        )

    vague = sum(word in pack.vague for word in words)
    return np.array(
        [
            acts(pack.first_person),
            acts(pack.first_person_plural),
            acts(pack.third_person),
            bool(past) and past[0],
            any(past),
            numbers > 0,
            not present.isdisjoint(pack.first_person),
            not present.isdisjoint(pack.first_person_plural),
            "my" in present,
            not present.isdisjoint(pack.conditional) and "had" not in present,
            not present.isdisjoint(pack.second_person),
            not present.isdisjoint(pack.causal),
            vague / max(1, len(words)) * _VAGUE_SCALE,
            not present.isdisjoint(pack.change),
            min(len(words), _LONG_UNIT_WORDS) / _LONG_UNIT_WORDS,
            not present.isdisjoint(("was", "were")),
            not present.isdisjoint(("is", "are")),
            not present.isdisjoint(pack.habitual),
            numbers >= 2 and not present.isdisjoint(("to", "from", "of", "instead")),
            not present.isdisjoint(("have", "has")),
            not present.isdisjoint(pack.scorer_terms),
        ],
        dtype=np.float32,
    )
