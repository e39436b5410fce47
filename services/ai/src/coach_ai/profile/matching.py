"""What a job description requires, and which sentences of a candidate show it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coach_ai.profile.passages import Passage, split_passages
from coach_ai.profile.similarity import Vectors

MAX_REQUIREMENTS = 40

MIN_SIMILARITY = 0.40
"""Of a sentence that shows a requirement without names, or with an alternative to its names."""
MIN_SIMILARITY_WITH_NAME = 0.25
"""Of a sentence that contains a name of the requirement, such as a technology."""

_CUES = re.compile(
    r"\b(you (have|are|can|bring|know|work|take|make|communicate|will|lead|speak|plan|build|like"
    r"|own|resolve|improve|enjoy|write)|we expect|experience[ds]?|knowledge|skills?|skilled|ability"
    r"|able to|familiar(ity)?|proficien\w+|expert\w*|fluent|understanding|degree|background|must|"
    r"required?|requirements?|strong|solid|years? of|track record|passion\w*|comfortable|"
    r"responsib\w+|qualifi\w+|certifi\w+|preferred|nice to have|a plus)\b",
    re.IGNORECASE,
)
_HEADINGS = re.compile(
    r"^\W*(requirements?|your (profile|skills|tasks|responsibilities)|responsibilities|"
    r"qualifications?|what you (bring|need|will do|have)|what we (expect|look for)|who you are|"
    r"must.haves?|nice to haves?|skills|about you|you will|tasks)\W*$",
    re.IGNORECASE,
)
_OTHER_HEADINGS = re.compile(
    r"^\W*(benefits?|perks|about us|about the company|what we offer|we offer|our offer|how to apply"
    r"|contact|who we are|our mission|company)\W*$",
    re.IGNORECASE,
)
_NAME = re.compile(r"[A-Z][A-Za-z0-9+#]*(?:\.[A-Za-z]+)*[+#]*|[a-z]+[A-Z][A-Za-z]*")
_ALTERNATIVE = re.compile(r"\b(other|another|similar|equivalent|comparable|any)\b", re.IGNORECASE)
_PREFIX_CHARACTERS = 5
"""Names with the same first letters are one, such as Postgres and PostgreSQL."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The sentence that shows a requirement best."""

    passage: Passage
    similarity: float


@dataclass(frozen=True, slots=True)
class RequirementMatch:
    """A requirement, and its evidence. None if no sentence shows it."""

    requirement: str
    evidence: Evidence | None


def split_requirements(job_description: str) -> list[str]:
    """Return the sentences of a job description that require something, in their order.

    They are the lines below a heading such as "Requirements", and sentences with words such as
    "experience" or "you have". Lines below a heading such as "Benefits" are left out.
    """
    found: dict[str, None] = {}
    is_required: bool | None = None
    for line in job_description.splitlines():
        if _HEADINGS.match(line):
            is_required = True
        elif _OTHER_HEADINGS.match(line):
            is_required = False
        elif is_required is not False:
            for sentence in split_passages(line, min_words=1):
                if is_required or _CUES.search(sentence):
                    found[sentence] = None
    return list(found)[:MAX_REQUIREMENTS]


def find_names(requirement: str) -> tuple[str, ...]:
    """Return the names in a requirement: capitalised words, except the first of the sentence."""
    first = re.match(r"\W*\w+", requirement)
    begin = 0 if first is None else first.end()
    names = [match[0] for match in _NAME.finditer(requirement, begin)]
    return tuple(name for name in names if name != "I")


def shows(requirement: str, passage: str, similarity: float) -> bool:
    """Return whether a sentence with this similarity shows the requirement."""
    names = find_names(requirement)
    if names and _shares_name(names, passage):
        return similarity >= MIN_SIMILARITY_WITH_NAME
    if names and not _ALTERNATIVE.search(requirement):
        return False
    return similarity >= MIN_SIMILARITY


def match_requirements(
    requirements: Sequence[str],
    requirement_vectors: Vectors,
    passages: Sequence[Passage],
    passage_vectors: Vectors,
) -> list[RequirementMatch]:
    """Return each requirement with the most similar passage that shows it.

    Args:
        requirements: Sentences of a job description.
        requirement_vectors: A unit vector per requirement.
        passages: Sentences of the résumé and of answers.
        passage_vectors: A unit vector per passage.
    """
    similarities = requirement_vectors @ passage_vectors.T
    matches: list[RequirementMatch] = []
    for row, requirement in enumerate(requirements):
        evidence = None
        for column in np.argsort(-similarities[row], kind="stable"):
            similarity = float(similarities[row, column])
            if shows(requirement, passages[column].text, similarity):
                evidence = Evidence(passages[column], similarity)
                break
            if similarity < MIN_SIMILARITY_WITH_NAME:
                break
        matches.append(RequirementMatch(requirement, evidence))
    return matches


def _shares_name(names: Sequence[str], passage: str) -> bool:
    words = {_shorten(match[0]) for match in _NAME.finditer(passage)}
    return any(_shorten(name) in words for name in names)


def _shorten(name: str) -> str:
    return name[:_PREFIX_CHARACTERS]
