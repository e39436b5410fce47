"""The speech process: one model, one recording at a time, JSON lines on stdin and stdout.

`python -m coach_ai.adapters.speech_child MODEL_FOLDER THREADS MEMORY_BYTES`. A process of its own,
for a thread cannot be cancelled and a decoder's crash must not take the service along. It ends
with its parent.
"""

import ctypes
import json
import os
import resource
import signal
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple
from functools import cache
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

from faster_whisper import WhisperModel
from faster_whisper.vad import VadOptions, get_speech_timestamps

from coach_ai.adapters import phrases, sound
from coach_ai.adapters.audio import RATE, Samples, decode, silences
from coach_ai.adapters.hearing import Hearing
from coach_ai.adapters.phrases import Phrase
from coach_ai.adapters.pieces import cut, encode
from coach_ai.domain import CannotTranscribe, Word

NO_SPEECH = "We found no speech in this recording."
NOT_UNDERSTOOD = "We could not understand what is said in this recording."

_PR_SET_PDEATHSIG = 1
_WINDOW = 30 * RATE
_LEAST_SPEECH_SECONDS = 0.5
_TEMPERATURES = [0.0, 0.4, 0.8]
"""A decoder that lost its way is tried again with more chance in it."""
_LEAST_PROBABILITY = 0.6
"""Mean over the words. Read speech has 0.94, with white noise as loud as the voice 0.67, with more
noise 0.52 and four words of five wrong; a recording played backwards stays about 0.5."""
_WIDE_UNTIL_SECONDS = 45.0
_PROGRESS_FROM_SECONDS = 60.0
_NICENESS = 5


def main(folder: str, threads: str, memory: str) -> None:
    """Serve until stdin closes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle.
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))

    @cache
    def model() -> WhisperModel:
        return WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=int(threads))

    hearing = Hearing()
    _say({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        _say(_answer(model, hearing, request))
        if "begin" not in request:
            _give_back_memory()


def _give_back_memory() -> None:
    """Return to the kernel what glibc was told to keep while a recording is heard."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def _answer(
    model: Callable[[], WhisperModel], hearing: Hearing, request: dict[str, Any]
) -> dict[str, Any]:
    """Return a transcript; or, where `pieces` names a folder, the speech cut and encoded there."""
    try:
        if "pieces" not in request:
            model()
    except (RuntimeError, OSError, ValueError) as error:
        return {"unavailable": f"The speech model does not load: {error}"}
    if "path" not in request:
        return {"ready": True}
    try:
        if "begin" in request:
            return {"heard": hearing.hear(model(), request)}
        samples = decode(Path(request["path"]))
        _say({"decoded_seconds": len(samples) / RATE})
        if not _has_speech(samples):
            raise CannotTranscribe(NO_SPEECH)
        track = {
            "duration_seconds": round(len(samples) / RATE, 3),
            "silences": [asdict(silence) for silence in silences(samples)],
            "sound": asdict(sound.listen(samples)),
        }
        _say({"track": track})
        if "pieces" in request:
            files = _pieces(samples, Path(request["pieces"]), request["longest"])
            return {"pieces": track | {"files": files}}
        return {"transcript": transcribe(model(), samples) | track}
    except CannotTranscribe as error:
        return {"cannot": str(error)}


def _pieces(samples: Samples, folder: Path, longest: float) -> list[tuple[float, str]]:
    found: list[tuple[float, str]] = []
    for begin, end in cut(len(samples) / RATE, silences(samples), longest):
        file = folder / f"{len(found)}.ogg"
        file.write_bytes(encode(samples[int(begin * RATE) : int(end * RATE)]))
        found.append((begin, str(file)))
    return found


def transcribe(model: WhisperModel, samples: Samples) -> dict[str, Any]:
    """Return text, language and words of what has speech in it.

    CannotTranscribe where nobody could say what is spoken.
    """
    heard, language = _listen(model, samples)
    understood = [phrase for phrase in heard if not phrase.is_made_up]
    words = [word for phrase in understood for word in phrase.words]
    text = " ".join(phrase.text for phrase in understood).strip()
    if not text or not words:
        raise CannotTranscribe(NOT_UNDERSTOOD if heard else NO_SPEECH)
    if statistics.fmean(word.probability or 0.0 for word in words) < _LEAST_PROBABILITY:
        raise CannotTranscribe(NOT_UNDERSTOOD)
    return {"text": text, "language": language, "words": [astuple(word) for word in words]}


def _has_speech(samples: Samples) -> bool:
    """Tell whether half a second of voice is in it; looks no further than it must."""
    found = 0
    options = VadOptions(min_silence_duration_ms=250, speech_pad_ms=0)
    for begin in range(0, len(samples), _WINDOW):
        parts = get_speech_timestamps(samples[begin : begin + _WINDOW], options)
        found += sum(part["end"] - part["start"] for part in parts)
        if found >= _LEAST_SPEECH_SECONDS * RATE:
            return True
    return False


def _listen(model: WhisperModel, samples: Samples) -> tuple[list[Phrase], str]:
    """Return the phrases and the language: with a wide beam where that takes no long."""
    length = len(samples) / RATE

    def done(seconds: float) -> None:
        if length >= _PROGRESS_FROM_SECONDS:
            _say({"progress": {"done_seconds": round(seconds, 1), "duration_seconds": length}})

    heard, language = phrases.hear(
        model,
        samples,
        phrases.cut(samples),
        beam_size=5 if length < _WIDE_UNTIL_SECONDS else 1,
        done=done,
    )
    return [
        again
        for phrase in heard
        for again in (
            _again(model, samples, phrase, language.code) if phrase.is_made_up else [phrase]
        )
    ], language.code


def _again(
    model: WhisperModel, samples: Samples, phrase: Phrase, language: str
) -> Iterator[Phrase]:
    """Yield what is heard where the decoder lost its way: padded in full, with chance in it."""
    segments, _ = model.transcribe(
        samples[int(phrase.begin * RATE) : int(phrase.end * RATE)],
        language=language,
        beam_size=5,
        best_of=3,
        temperature=_TEMPERATURES,
        condition_on_previous_text=False,
        word_timestamps=True,
    )
    for segment in segments:
        words = tuple(
            Word(
                word.word.strip(),
                round(word.start + phrase.begin, 2),
                round(word.end + phrase.begin, 2),
                round(word.probability, 3),
            )
            for word in segment.words or ()
        )
        begin, end = segment.start + phrase.begin, segment.end + phrase.begin
        yield Phrase(begin, end, segment.text.strip(), words, segment.avg_logprob)


def _say(message: dict[str, Any]) -> None:
    sys.__stdout__.write(json.dumps(message) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    main(*sys.argv[1:])
