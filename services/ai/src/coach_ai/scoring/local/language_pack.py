"""What the local scorer knows about a language: word classes and the texts of its feedback."""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LanguagePack:
    """Word classes in lower case, and texts. A second language is a second pack."""

    code: str
    first_person: frozenset[str]
    first_person_plural: frozenset[str]
    third_person: frozenset[str]
    second_person: frozenset[str]
    speaker: frozenset[str]
    """Words of the speaker: "I", "my"."""
    speaker_plural: frozenset[str]
    """Words of the speaker's group: "we", "our"."""
    others: frozenset[str]
    """Words of other persons: "he", "her"."""
    irregular_past: frozenset[str]
    not_past: frozenset[str]
    """Words that end like a past tense and are none."""
    past_ending: str
    conditional: frozenset[str]
    causal: frozenset[str]
    vague: frozenset[str]
    habitual: frozenset[str]
    change: frozenset[str]
    """Words of a lesson: "since", "differently"."""
    scorer_terms: frozenset[str]
    """Words of talk about scores and transcripts."""
    stop_words: frozenset[str]
    number: re.Pattern[str]
    duty: re.Pattern[str]
    """Words of a task: "my job was to"."""
    addresses_scorer: re.Pattern[str]
    """Orders to the scorer in a known wording. A false match only drops a unit."""
    texts: Mapping[str, str]
    """Sentences of the feedback by name. They may have placeholders."""

    def is_past(self, token: str) -> bool:
        """True if a word has the form of a past tense."""
        if token in self.irregular_past:
            return True
        return len(token) > 4 and token.endswith(self.past_ending) and token not in self.not_past

    def content_words(self, tokens: tuple[str, ...]) -> frozenset[str]:
        """Return the words of five letters or more that are no stop words."""
        return frozenset(one for one in tokens if len(one) > 4 and one not in self.stop_words)
