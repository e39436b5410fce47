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
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.vad import VadOptions, get_speech_timestamps

from coach_ai.adapters import sound
from coach_ai.adapters.audio import RATE, Samples, decode, silences
from coach_ai.domain import CannotTranscribe

_PR_SET_PDEATHSIG = 1
_LEAST_SPEECH_SECONDS = 0.5
_BATCHED_FROM_SECONDS = 45.0
_NICENESS = 5


def main(folder: str, threads: str, memory: str) -> None:
    """Serve until stdin closes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle.
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=int(threads))
    _say({"ready": True})
    for line in sys.stdin:
        _say(_answer(model, json.loads(line)["path"]))


def _answer(model: WhisperModel, path: str) -> dict[str, Any]:
    try:
        samples = decode(Path(path))
        _say({"decoded_seconds": len(samples) / RATE})
        return {"transcript": transcribe(model, samples)}
    except CannotTranscribe as error:
        return {"cannot": str(error)}


def transcribe(model: WhisperModel, samples: Samples) -> dict[str, Any]:
    """Return text, language, duration, words and silences; CannotTranscribe without speech."""
    duration = len(samples) / RATE
    spoken = get_speech_timestamps(samples, VadOptions(min_silence_duration_ms=250))
    if sum(part["end"] - part["start"] for part in spoken) / RATE < _LEAST_SPEECH_SECONDS:
        raise CannotTranscribe("We found no speech in this recording.")
    options: dict[str, Any] = {"word_timestamps": True, "vad_filter": True}
    if duration < _BATCHED_FROM_SECONDS:
        segments, info = model.transcribe(
            samples, beam_size=5, condition_on_previous_text=False, **options
        )
    else:
        segments, info = BatchedInferencePipeline(model).transcribe(
            samples, beam_size=1, batch_size=4, **options
        )
    heard = list(segments)
    text = " ".join(segment.text.strip() for segment in heard).strip()
    if not text:
        raise CannotTranscribe("We found no speech in this recording.")
    return {
        "text": text,
        "language": info.language,
        "duration_seconds": round(duration, 3),
        "words": [
            [
                word.word.strip(),
                round(word.start, 2),
                round(word.end, 2),
                round(word.probability, 3),
            ]
            for segment in heard
            for word in segment.words or ()
        ],
        "silences": [asdict(silence) for silence in silences(samples)],
        "sound": asdict(sound.listen(samples)),
    }


def _say(message: dict[str, Any]) -> None:
    sys.__stdout__.write(json.dumps(message) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    main(*sys.argv[1:])
