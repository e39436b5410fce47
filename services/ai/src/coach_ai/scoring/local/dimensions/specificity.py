"""Specificity: numbers, steps and results, against vague terms."""

from coach_ai.scoring.local.level_scale import saturating_ratio
from coach_ai.scoring.local.parsed_answer import ParsedAnswer
from coach_ai.scoring.local.story_parts import Story
from coach_ai.scoring.local.word_classes import concrete_numbers, content_words

_MIN_LEXICAL_DENSITY, _MAX_LEXICAL_DENSITY = 0.18, 0.38
"""Share of content words in small talk, and in a dense explanation."""


def count_evidence(parsed: ParsedAnswer, story: Story) -> int:
    """Return the number of concrete numbers and steps. A measured result counts two more."""
    numbers = set[str]().union(*(concrete_numbers(one.clauses) for one in parsed.sentences))
    return len(numbers) + story.steps + 2 * bool(story.measured_results)


def evidence_share(evidence: int, parsed: ParsedAnswer) -> float:
    """Return the specificity of a story or of a claim about oneself, 0 to 1."""
    return saturating_ratio(evidence, parsed.vague_terms + 4)


def explanation_share(evidence: int, parsed: ParsedAnswer) -> float:
    """Return the specificity of an explanation: lexical density (Ure 1971) plus evidence."""
    content = content_words(parsed.tokens)
    density = sum(token in content for token in parsed.tokens) / max(1, len(parsed.tokens))
    scaled = (density - _MIN_LEXICAL_DENSITY) / (_MAX_LEXICAL_DENSITY - _MIN_LEXICAL_DENSITY)
    return scaled + saturating_ratio(evidence, 8)
