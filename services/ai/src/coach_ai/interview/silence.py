"""What the interviewer says if nothing is said for a while. Plain Python.

The words are no turn: nothing is stored, and they change neither the answer nor scores.
"""

from dataclasses import dataclass

from coach_ai.domain import Accommodation, Profile
from coach_ai.interview.model import Intent, Interview, InterviewSetup, InterviewStatus, Turn
from coach_ai.interview.wording import load_phrases


@dataclass(frozen=True, slots=True)
class SilencePrompt:
    """The words, and after how many seconds of silence they are said, once per turn."""

    after_seconds: int
    text: str


def choose_silence_seconds(setup: InterviewSetup, profile: Profile | None, *, default: int) -> int:
    """Return how long a silence may last before the interviewer says a word, or 0 for never.

    The choice for the interview counts, then that of the profile, then the setting of the server. A
    profile that switches pauses off wants no word about them, unless it names a time.
    """
    if setup.silence_seconds is not None:
        return setup.silence_seconds
    if profile is not None and profile.silence_seconds is not None:
        return profile.silence_seconds
    if profile is not None and Accommodation.PAUSES in profile.accommodations:
        return 0
    return default


def find_silence_prompt(interview: Interview, turn: Turn) -> SilencePrompt | None:
    """Return what is said in a silence after the last turn, or None for nothing.

    A candidate who asked for a moment is left alone.
    """
    seconds = interview.setup.silence_seconds
    is_over = interview.status is InterviewStatus.COMPLETED
    if not seconds or is_over or turn.intent is Intent.MOMENT:
        return None
    return SilencePrompt(seconds, write_silence_prompt(interview))


def write_silence_prompt(interview: Interview) -> str:
    """Return the words of the persona for a silence."""
    return load_phrases().manners[interview.setup.persona.manner]["silence"]
