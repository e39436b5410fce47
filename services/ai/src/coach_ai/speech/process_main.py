"""The speech process: one model, one request at a time, JSON lines on stdin and stdout.

`python -m coach_ai.speech.process_main MODEL_DIR THREADS MEMORY_BYTES`. It is a process because a
thread cannot be cancelled, and because a crash of a decoder must not end the service. It exits with
its parent.
"""

import ctypes
import errno
import json
import os
import resource
import signal
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple
from functools import cache
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

from faster_whisper import WhisperModel

from coach_ai.domain import (
    NO_SPEECH,
    NOT_INTELLIGIBLE,
    AudioAnalysis,
    AudioGap,
    CannotTranscribe,
    GapReason,
    Word,
)
from coach_ai.process_sandbox import exit_with_parent, leave_network, limit_resources
from coach_ai.speech import batch_transcription
from coach_ai.speech.audio import SAMPLE_RATE, Samples, find_silences
from coach_ai.speech.audio_features import analyse
from coach_ai.speech.batch_transcription import Phrase
from coach_ai.speech.chunking import encode_opus, encode_wav, split_at_silence
from coach_ai.speech.decoding import decode_recording
from coach_ai.speech.live_decoder import LiveDecoder, LiveRequest
from coach_ai.speech.mixed_languages import LanguageDetector, MixedTranscript, keep_main_language
from coach_ai.speech.voice_activity import has_speech

_RETRY_TEMPERATURES = [0.0, 0.4, 0.8]
"""A hallucinated phrase is decoded again with rising temperatures."""
_MIN_MEAN_PROBABILITY = 0.6
"""Mean over the words. Read speech has 0.94, with white noise as loud as the voice 0.67. With more
noise it has 0.52, and four of five words are wrong. A recording played backwards has about 0.5."""
_WIDE_BEAM_MAX_SECONDS = 45.0
_PROGRESS_MIN_SECONDS = 60.0
_NICENESS = 5
_MAX_OPEN_FILES = 256
_MAX_FILE_BYTES = 64 * 1024**2
"""A chunk of half an hour has 7 MB."""
_MAX_PROCESSOR_SECONDS = 4 * 3600
"""Four processors for the longest time that the parent waits."""

_MACHINE_ERRORS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE))
"""The machine has a fault. The recording has none, so it is transcribed later."""


def main(model_dir: str, threads: str, memory_bytes: str) -> None:
    """Serve requests until stdin is closed."""
    exit_with_parent()
    is_isolated = leave_network()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent handles Ctrl-C.
    os.nice(_NICENESS)
    limit_resources(
        memory_bytes=int(memory_bytes), open_files=_MAX_OPEN_FILES, file_bytes=_MAX_FILE_BYTES
    )

    @cache
    def model() -> WhisperModel:
        return WhisperModel(model_dir, device="cpu", compute_type="int8", cpu_threads=int(threads))

    live_decoder = LiveDecoder()
    _write_message({"ready": True, "has_network": not is_isolated})
    for line in sys.stdin:
        request = json.loads(line)
        _limit_processor_time()
        _write_message(_handle(model, live_decoder, request))
        if "start" not in request:
            _release_memory()


def _limit_processor_time() -> None:
    """Have the kernel end this process if the next request takes hours of processor time."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(usage.ru_utime + usage.ru_stime) + _MAX_PROCESSOR_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def _release_memory() -> None:
    """Return to the kernel the memory that glibc retains during a transcription."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def _handle(
    model: Callable[[], WhisperModel], live_decoder: LiveDecoder, request: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the response to a request.

    With `start` it is a live request. With `chunks_dir` the audio is split and encoded there,
    without transcription. With `path` only it is transcribed. An empty request loads the model.
    """
    try:
        if "chunks_dir" not in request:
            model()
    except (RuntimeError, OSError, ValueError) as error:
        return {"unavailable": f"The speech model could not be loaded: {error}"}
    if "path" not in request:
        return {"ready": True}
    try:
        if "start" in request:
            return {"live": live_decoder.decode(model(), LiveRequest(**request))}
        decoded = decode_recording(Path(request["path"]))
        samples = decoded.samples
        _write_message({"event": "decoded", "seconds": len(samples) / SAMPLE_RATE})
        if not has_speech(samples):
            raise CannotTranscribe(NO_SPEECH)
        analysis = AudioAnalysis(
            round(len(samples) / SAMPLE_RATE, 3),
            find_silences(samples),
            analyse(samples),
            decoded.coverage,
        )
        _write_message({"event": "analysis", "analysis": asdict(analysis)})
        if "chunks_dir" in request:
            chunks = _write_chunks(
                samples,
                analysis,
                Path(request["chunks_dir"]),
                request["max_seconds"],
                is_wav=request.get("is_wav", False),
            )
            return {"chunks": chunks, "analysis": asdict(analysis)}
        transcript = transcribe(model(), samples, request.get("prompt", ""))
        return {"transcript": transcript, "analysis": asdict(analysis)}
    except CannotTranscribe as error:
        return {"error": str(error)}
    except OSError as error:
        if error.errno not in _MACHINE_ERRORS:
            raise
        return {"machine_error": os.strerror(error.errno)}


def _write_chunks(
    samples: Samples,
    analysis: AudioAnalysis,
    directory: Path,
    max_seconds: float,
    *,
    is_wav: bool,
) -> list[tuple[float, float, str]]:
    """Write the audio as Opus or WAV files, and return the begin, end and path of each."""
    encode, suffix = (encode_wav, "wav") if is_wav else (encode_opus, "ogg")
    chunks: list[tuple[float, float, str]] = []
    for begin, end in split_at_silence(len(samples) / SAMPLE_RATE, analysis.silences, max_seconds):
        file = directory / f"{len(chunks)}.{suffix}"
        file.write_bytes(encode(samples[int(begin * SAMPLE_RATE) : int(end * SAMPLE_RATE)]))
        chunks.append((begin, end, str(file)))
    return chunks


def transcribe(model: WhisperModel, samples: Samples, prompt: str = "") -> dict[str, Any]:
    """Return text, language, words and gaps of samples that contain speech.

    `gaps` are the parts in another language, which are not transcribed.

    Raises:
        CannotTranscribe: If the speech is not intelligible.
    """
    transcript = _transcribe(model, samples, prompt)
    intelligible = [phrase for phrase in transcript.phrases if not phrase.is_hallucination]
    words = [word for phrase in intelligible for word in phrase.words]
    text = " ".join(phrase.text for phrase in intelligible if phrase.text).strip()
    if not text or not words:
        raise CannotTranscribe(NOT_INTELLIGIBLE if transcript.phrases else NO_SPEECH)
    if statistics.fmean(word.probability or 0.0 for word in words) < _MIN_MEAN_PROBABILITY:
        raise CannotTranscribe(NOT_INTELLIGIBLE)
    gaps = [
        AudioGap(
            round(other.begin / SAMPLE_RATE, 2),
            round(other.end / SAMPLE_RATE, 2),
            GapReason.OTHER_LANGUAGE,
            other.language,
        )
        for other in transcript.others
    ]
    return {
        "text": text,
        "language": transcript.language,
        "words": [astuple(word) for word in words],
        "gaps": [asdict(gap) for gap in gaps],
    }


def _transcribe(model: WhisperModel, samples: Samples, prompt: str) -> MixedTranscript:
    """Return the phrases of the main language. Short recordings use a wider beam."""
    duration_seconds = len(samples) / SAMPLE_RATE
    beam_size = 5 if duration_seconds < _WIDE_BEAM_MAX_SECONDS else 1

    def report_progress(seconds: float) -> None:
        if duration_seconds >= _PROGRESS_MIN_SECONDS:
            _write_message(
                {
                    "event": "progress",
                    "done_seconds": round(seconds, 1),
                    "duration_seconds": duration_seconds,
                }
            )

    def replace_hallucinated(phrases: list[Phrase], language: str) -> list[Phrase]:
        return [
            final
            for phrase in phrases
            for final in (
                _retry_hallucinated(model, samples, phrase, language)
                if phrase.is_hallucination
                else [phrase]
            )
        ]

    def transcribe_again(segments: Sequence[batch_transcription.Span], code: str) -> list[Phrase]:
        phrases, _ = batch_transcription.batch_transcribe(
            model, samples, segments, language=code, prompt=prompt, beam_size=beam_size
        )
        return replace_hallucinated(phrases, code)

    parts = batch_transcription.find_speech(samples)
    phrases, language = batch_transcription.batch_transcribe(
        model,
        samples,
        batch_transcription.join_segments(parts),
        prompt=prompt,
        beam_size=beam_size,
        on_progress=report_progress,
    )
    phrases = replace_hallucinated(phrases, language.code)
    if not model.model.is_multilingual:
        return MixedTranscript(phrases, language.code)
    return keep_main_language(
        LanguageDetector(model), samples, parts, phrases, language.code, transcribe_again
    )


def _retry_hallucinated(
    model: WhisperModel, samples: Samples, phrase: Phrase, language: str
) -> Iterator[Phrase]:
    """Decode a hallucinated phrase again, with full padding and rising temperatures."""
    segments, _ = model.transcribe(
        samples[int(phrase.begin * SAMPLE_RATE) : int(phrase.end * SAMPLE_RATE)],
        language=language,
        beam_size=5,
        best_of=3,
        temperature=_RETRY_TEMPERATURES,
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


def _write_message(message: Mapping[str, object]) -> None:
    sys.__stdout__.write(json.dumps(message) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    main(*sys.argv[1:])
