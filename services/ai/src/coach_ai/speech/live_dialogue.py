"""What live audio is to an interview: whether the candidate replies, and how long a silence is."""

from collections.abc import Sequence
from dataclasses import dataclass

from coach_ai.interview.intents import find_intent
from coach_ai.interview.model import Intent
from coach_ai.interview.own_voice import find_own_voice
from coach_ai.scoring.echo import split_around
from coach_ai.speech.local_agreement import Hypothesis
from coach_ai.text import tokenize

_MIN_REPLY_WORDS = 3
"""Fewer words are no reply unless they are a request: noise, or the rest of an echo."""
_REPORT_INTERVAL_SECONDS = 1.0


@dataclass(slots=True)
class LiveDialogue:
    """The audio of one recording. `spoken_texts` is what the interviewer speaks meanwhile."""

    spoken_texts: Sequence[str]
    _speech_end: float = 0.0
    _reported_at: float = 0.0

    def is_reply(self, text: str) -> bool:
        """Return whether a text has words of the candidate that are more than "hm"."""
        parts = split_around(text, find_own_voice(text, self.spoken_texts))
        own = " ".join(text[begin:end] for begin, end in parts)
        match find_intent(own):
            case Intent.ACKNOWLEDGEMENT:
                return False
            case Intent.ANSWER:
                return len(tokenize(own)) >= _MIN_REPLY_WORDS
            case _:
                return True

    def find_silence(self, hypothesis: Hypothesis) -> float | None:
        """Return how many seconds of silence the audio ends with.

        Returns None if it ends with speech, or if less than a second was added since the last call
        that returned a number.
        """
        if hypothesis.words:
            self._speech_end = max(self._speech_end, hypothesis.words[-1].end)
        seconds = hypothesis.end - self._speech_end
        if seconds < _REPORT_INTERVAL_SECONDS:
            return None
        if hypothesis.end - self._reported_at < _REPORT_INTERVAL_SECONDS:
            return None
        self._reported_at = hypothesis.end
        return round(seconds, 1)
