"""Live words that do not flicker: said only once two successive hypotheses agree. Plain Python.

LocalAgreement-2 (Liu et al. 2020; Macháček et al. 2023, "Turning Whisper into Real-Time
Transcription System"): the longest common prefix of this hypothesis and the one before is
committed, and never taken back. Where a phrase has ended nothing more can change: all of it is.
"""

from dataclasses import dataclass, field

from coach_ai.domain import Word
from coach_ai.evidence import tokens_of

LONGEST_WINDOW_SECONDS = 20.0
"""What is heard again each time; a longer phrase goes on from its last committed word."""

_REPEATED_SECONDS = 0.3
_REPEATED_WORDS = 5


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What was heard from some second on, with times from the recording's start.

    `end` is how far the audio reaches; `pause` where the last phrase ended, if it has."""

    words: tuple[Word, ...]
    end: float
    pause: float | None = None


@dataclass(slots=True)
class Agreement:
    """The words so far. `begin` is where the next hypothesis is to begin."""

    words: list[Word] = field(default_factory=list)
    begin: float = 0.0
    _before: list[Word] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Return what is certain; each text begins with the one before."""
        return " ".join(word.text for word in self.words)

    def hear(self, heard: Hypothesis) -> bool:
        """Take the next hypothesis; tell whether there is more text now."""
        fresh = self._without_known(list(heard.words))
        count = len(fresh) if heard.pause is not None else _agreed(self._before, fresh)
        self.words += fresh[:count]
        self._before = fresh[count:]
        if heard.pause is not None:
            self.begin = max(self.begin, heard.pause)
        elif heard.end - self.begin > LONGEST_WINDOW_SECONDS and self.words:
            self.begin = max(self.begin, self.words[-1].end)
        return count > 0

    def _without_known(self, heard: list[Word]) -> list[Word]:
        """Return the words after the committed ones: by their times, and where a window begins
        within a phrase, by the words themselves."""
        if not self.words:
            return heard
        known = self.words[-1].end
        fresh = [word for word in heard if (word.start + word.end) / 2 > known]
        if fresh and fresh[0].start < known + _REPEATED_SECONDS:
            for count in range(min(_REPEATED_WORDS, len(fresh), len(self.words)), 0, -1):
                if _agreed(self.words[-count:], fresh[:count]) == count:
                    return fresh[count:]
        return fresh


def _agreed(one: list[Word], other: list[Word]) -> int:
    """Return how many first words are the same, case and punctuation apart."""
    count = 0
    for ours, theirs in zip(one, other, strict=False):
        if tokens_of(ours.text) != tokens_of(theirs.text):
            break
        count += 1
    return count
