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
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.transcribe import Segment
from faster_whisper.vad import VadOptions, get_speech_timestamps

from coach_ai.adapters import sound
from coach_ai.adapters.audio import RATE, Samples, decode, resampled, silences
from coach_ai.adapters.pieces import cut, encode
from coach_ai.domain import CannotTranscribe

NO_SPEECH = "We found no speech in this recording."
NOT_UNDERSTOOD = "We could not understand what is said in this recording."

_PR_SET_PDEATHSIG = 1
_WINDOW = 30 * RATE
_LEAST_SPEECH_SECONDS = 0.5
_TEMPERATURES = [0.0, 0.4, 0.8]
"""A decoder that lost its way is tried again with more chance in it; batches have one try only."""
_LEAST_LOGPROB = -1.0
_MOST_COMPRESSION = 2.4
_LEAST_PROBABILITY = 0.5
"""Mean over the words. Read speech has 0.95, with noise as loud as the voice 0.7; a recording
played backwards stays under 0.5."""
_BATCHED_FROM_SECONDS = 45.0
_BATCH = 4
_NICENESS = 5
_PAUSE_SECONDS = 0.4
_SURE_OF_LANGUAGE = 0.8


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

    _say({"ready": True})
    for line in sys.stdin:
        _say(_answer(model, json.loads(line)))


def _answer(model: Callable[[], WhisperModel], request: dict[str, Any]) -> dict[str, Any]:
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
            return {"heard": hear(model(), request)}
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
    segments, language = _listen(model, samples)
    heard = [segment for segment in segments if not _is_made_up(segment)]
    words = [word for segment in heard for word in segment.words or ()]
    text = " ".join(segment.text.strip() for segment in heard).strip()
    if not text or not words:
        raise CannotTranscribe(NOT_UNDERSTOOD if segments else NO_SPEECH)
    if statistics.fmean(word.probability for word in words) < _LEAST_PROBABILITY:
        raise CannotTranscribe(NOT_UNDERSTOOD)
    return {
        "text": text,
        "language": language,
        "words": [
            [
                word.word.strip(),
                round(word.start, 2),
                round(word.end, 2),
                round(word.probability, 3),
            ]
            for word in words
        ],
    }


def hear(model: WhisperModel, request: dict[str, Any]) -> dict[str, Any]:
    """Return the words from `begin` on, how far the audio reaches, and where the speaker paused.

    A pause is 0.4 s without voice at the end of what there is.
    """
    begin = float(request["begin"])
    window = _spooled(Path(request["path"]), request["rate"], begin)
    end = begin + len(window) / RATE
    options = VadOptions(min_silence_duration_ms=300, speech_pad_ms=100)
    parts = get_speech_timestamps(window, options)
    nothing = {"words": [], "end": end, "pause": max(begin, end - 0.5), "language": None}
    if not parts:
        return nothing
    last = parts[-1]["end"]
    segments, info = model.transcribe(
        window[max(0, parts[0]["start"] - RATE // 10) : last],
        language=request["language"],
        beam_size=1,
        temperature=0.0,
        condition_on_previous_text=False,
        word_timestamps=True,
    )
    offset = begin + max(0, parts[0]["start"] - RATE // 10) / RATE
    words = [
        [word.word.strip(), round(word.start + offset, 2), round(word.end + offset, 2)]
        for segment in segments
        if not _is_made_up(segment)
        for word in segment.words or ()
    ]
    is_over = (len(window) - last) / RATE >= _PAUSE_SECONDS
    is_sure = info.language_probability >= _SURE_OF_LANGUAGE
    return {
        "words": words,
        "end": end,
        "pause": begin + last / RATE if is_over else None,
        "language": info.language if is_sure else None,
    }


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


def _listen(model: WhisperModel, samples: Samples) -> tuple[list[Segment], str]:
    """Return the segments and the language: short ones with a wide beam, long ones in batches."""
    if len(samples) / RATE < _BATCHED_FROM_SECONDS:
        return _carefully(model, samples, None, _TEMPERATURES)
    segments, info = BatchedInferencePipeline(model).transcribe(
        samples, beam_size=1, batch_size=_BATCH, word_timestamps=True, vad_filter=True
    )
    heard: list[Segment] = []
    for number, segment in enumerate(segments, 1):
        if number % _BATCH == 0:
            done = {"done_seconds": segment.end, "duration_seconds": len(samples) / RATE}
            _say({"progress": done})
        if _is_made_up(segment):
            piece = samples[int(segment.start * RATE) : int(segment.end * RATE) + 1]
            again, _ = _carefully(model, piece, info.language, _TEMPERATURES[1:])
            heard.extend(_shifted(one, segment.start) for one in again)
        else:
            heard.append(segment)
    return heard, info.language


def _carefully(
    model: WhisperModel, samples: Samples, language: str | None, temperatures: list[float]
) -> tuple[list[Segment], str]:
    segments, info = model.transcribe(
        samples,
        language=language,
        beam_size=5,
        best_of=3,
        temperature=temperatures,
        condition_on_previous_text=False,
        word_timestamps=True,
        vad_filter=True,
    )
    return list(segments), info.language


def _is_made_up(segment: Segment) -> bool:
    """Tell whether the decoder lost its way, by the two signs Whisper itself goes by.

    Mean log probability under -1, or text that compresses more than 2.4 times (it repeats):
    Radford et al. 2022, section 4.5.
    """
    is_repeating = segment.compression_ratio > _MOST_COMPRESSION
    return bool(is_repeating or segment.avg_logprob < _LEAST_LOGPROB)


def _shifted(segment: Segment, seconds: float) -> Segment:
    words = [
        replace(word, start=word.start + seconds, end=word.end + seconds)
        for word in segment.words or ()
    ]
    return replace(segment, start=segment.start + seconds, end=segment.end + seconds, words=words)


def _say(message: dict[str, Any]) -> None:
    sys.__stdout__.write(json.dumps(message) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    main(*sys.argv[1:])
