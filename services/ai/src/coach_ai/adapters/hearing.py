"""What a recording says that still grows: heard anew when more was spoken, or a phrase ended.

A phrase is heard as soon as its speaker falls silent; once the silence has lasted long enough to
be its end, what was heard is said without hearing it again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.vad import VadOptions, get_speech_timestamps

from coach_ai.adapters import phrases
from coach_ai.adapters.audio import RATE, Samples, decode, resampled
from coach_ai.domain import CannotTranscribe

_PAUSE_SECONDS = 0.4
_PAD_SECONDS = 0.1
_LONGEST_SECONDS = 29.0
_MORE_SECONDS = 0.5
"""So much must be new while somebody speaks on: each hearing costs the same, however little."""
_SURE_OF_LANGUAGE = 0.8


@dataclass(slots=True)
class Hearing:
    """What was heard last, of whatever recording: of which, from where, and to what second."""

    path: str = ""
    begin: float = 0.0
    to: float = 0.0
    words: tuple[Any, ...] = ()
    language: str | None = None

    def hear(self, model: WhisperModel, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return the words from `begin` on, how far the audio reaches, and where the speaker
        paused, if so; None where there is nothing new to say."""
        path, begin = request["path"], float(request["begin"])
        window = _spooled(Path(path), request["rate"], begin)
        end = begin + len(window) / RATE
        options = VadOptions(
            min_silence_duration_ms=int(_PAD_SECONDS * 1000),
            speech_pad_ms=int(_PAD_SECONDS * 1000),
        )
        parts = get_speech_timestamps(window, options)
        if not parts:
            return {"words": [], "end": end, "pause": max(begin, end - 0.5), "language": None}
        last = parts[-1]["end"]
        spoken = begin + last / RATE
        is_over = end - spoken >= _PAUSE_SECONDS - _PAD_SECONDS
        is_known = (self.path, self.begin) == (path, begin) and self.to >= spoken - _PAD_SECONDS
        if not is_known:
            is_same = (self.path, self.begin) == (path, begin)
            if last == len(window) and is_same and spoken - self.to < _MORE_SECONDS:
                return None
            first = max(parts[0]["start"], last - int(_LONGEST_SECONDS * RATE))
            self._listen(model, window[:last], first, request | {"begin": begin})
        elif not is_over:
            return None
        return {
            "words": self.words,
            "end": end,
            "pause": spoken if is_over else None,
            "language": self.language,
        }

    def _listen(
        self, model: WhisperModel, window: Samples, first: int, request: dict[str, Any]
    ) -> None:
        begin = request["begin"]
        (phrase,), language = phrases.hear(
            model, window, [(first, len(window))], language=request["language"]
        )
        self.path, self.begin, self.to = request["path"], begin, begin + len(window) / RATE
        self.language = language.code if language.probability >= _SURE_OF_LANGUAGE else None
        self.words = tuple(
            (word.text, round(word.start + begin, 2), round(word.end + begin, 2))
            for word in (() if phrase.is_made_up else phrase.words)
        )


def _spooled(spool: Path, rate: int | None, begin: float) -> Samples:
    """Return what a recording that still grows has from `begin` on."""
    if rate is None:
        try:
            return decode(spool)[int(begin * RATE) :]
        except CannotTranscribe:
            return np.zeros(0, np.float32)  # Not even its head is there yet.
    with spool.open("rb") as file:
        file.seek(int(begin * rate) * 2)
        content = file.read()
    whole = np.frombuffer(content[: len(content) // 2 * 2], "<i2")
    raw: Samples = whole.astype(np.float32) / np.float32(32768)
    return raw if rate == RATE else resampled(raw, rate)
