"""Clarity: the length of the longest sentences."""

from coach_ai.scoring.local.parsed_answer import ParsedAnswer

_EASY_SENTENCE_WORDS, _HARD_SENTENCE_WORDS = 25, 45
"""Words of a sentence that is easy to follow by ear, and of one that is not. The Plain English
Campaign recommends 15 to 20 on average for print; speech joins clauses with commas and “and”."""


def clarity_level(parsed: ParsedAnswer) -> float:
    """Return the level, from 5 down to 2, by the excess words of the three longest sentences.

    Length alone does not show that an answer is unintelligible, so the level never falls below 2.
    Adding a sentence cannot raise it.
    """
    excess = sum(
        min(_HARD_SENTENCE_WORDS, words) - _EASY_SENTENCE_WORDS
        for words in parsed.sentence_lengths[:3]
        if words > _EASY_SENTENCE_WORDS
    )
    return 5 - 3 * excess / (3 * (_HARD_SENTENCE_WORDS - _EASY_SENTENCE_WORDS))
