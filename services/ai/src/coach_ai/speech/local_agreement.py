"""LocalAgreement-2: live text that is published only when two successive hypotheses agree on it.

The longest common prefix of a hypothesis and the one before is committed and never changed. If a
phrase has ended, all of it is committed, and if no more audio arrives, all but its last word. Liu
et al. 2020; Macháček et al. 2023, "Turning Whisper into Real-Time Transcription System". Plain
Python.
"""

from dataclasses import dataclass, field

from coach_ai.domain import Word
from coach_ai.text import tokenize

MAX_WINDOW_SECONDS = 20.0
"""Audio that is transcribed again each time. In a longer phrase the window starts at its last
committed word."""

_OVERLAP_SECONDS = 0.3
_MAX_OVERLAP_WORDS = 5


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """Words of the current window. All times are seconds from the recording's start.

    `end` is the end of the audio. `phrase_end` is the end of the last phrase, or None while the
    speaker continues.
    """

    words: tuple[Word, ...]
    end: float
    phrase_end: float | None = None


@dataclass(slots=True)
class LocalAgreement:
    """The committed words. `window_start` is where the next hypothesis must begin."""

    words: list[Word] = field(default_factory=list)
    window_start: float = 0.0
    _previous: list[Word] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The committed text. Each value starts with the one before."""
        return " ".join(word.text for word in self.words)

    def update(self, hypothesis: Hypothesis) -> bool:
        """Add a hypothesis. Return True if it committed more words."""
        fresh = self._drop_committed(list(hypothesis.words))
        is_phrase_over = hypothesis.phrase_end is not None
        count = len(fresh) if is_phrase_over else _common_prefix_length(self._previous, fresh)
        self.words += fresh[:count]
        self._previous = fresh[count:]
        if hypothesis.phrase_end is not None:
            self.window_start = max(self.window_start, hypothesis.phrase_end)
        elif hypothesis.end - self.window_start > MAX_WINDOW_SECONDS and self.words:
            self.window_start = max(self.window_start, self.words[-1].end)
        return count > 0

    def settle(self) -> bool:
        """Commit the last hypothesis if no more audio arrives, except its last word.

        That word may be cut off. Return True if it committed more words.
        """
        settled, self._previous = self._previous[:-1], self._previous[-1:]
        self.words += settled
        return bool(settled)

    def _drop_committed(self, words: list[Word]) -> list[Word]:
        """Return the words after the committed ones.

        Committed words are recognised by their times, and at the start of a window within a phrase
        by their text.
        """
        if not self.words:
            return words
        committed_until = self.words[-1].end
        fresh = [word for word in words if (word.start + word.end) / 2 > committed_until]
        if fresh and fresh[0].start < committed_until + _OVERLAP_SECONDS:
            for count in range(min(_MAX_OVERLAP_WORDS, len(fresh), len(self.words)), 0, -1):
                if _common_prefix_length(self.words[-count:], fresh[:count]) == count:
                    return fresh[count:]
        return fresh


def _common_prefix_length(one: list[Word], other: list[Word]) -> int:
    """Return the number of equal leading words, ignoring case and punctuation."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if tokenize(left.text) != tokenize(right.text):
            break
        count += 1
    return count
