"""The roles that a unit of an answer can have."""

from enum import StrEnum


class Role(StrEnum):
    """What a unit contributes to an answer."""

    SCENE = "scene"
    """Where, when, who, and what was to be done."""
    ACTION = "action"
    """A concrete step of the speaker."""
    EFFORT = "effort"
    """A step without content: "I took care of it"."""
    RESULT = "result"
    """A concrete outcome."""
    ENDING = "ending"
    """An outcome without content: "it went well"."""
    LESSON = "lesson"
    """What the speaker does differently since."""
    EXPERIENCE = "experience"
    """A fact of the speaker's career."""
    MOTIVE = "motive"
    """What the speaker wants."""
    CLAIM = "claim"
    """A statement about the speaker without proof: "I am patient"."""
    REASON = "reason"
    """An explanation, a cause, a condition or a cost."""
    PROPOSAL = "proposal"
    """A concrete step that the speaker would take."""
    GENERAL = "general"
    """General talk without a case, and lists of words."""
    META = "meta"
    """Talk to the scorer: orders, praise, boasts, reports about the answer itself."""
    ASIDE = "aside"
    """Something that has nothing to do with the answer."""


ROLES = tuple(Role)
COLUMN = {role: number for number, role in enumerate(ROLES)}
"""The column of each role in a matrix of probabilities."""
