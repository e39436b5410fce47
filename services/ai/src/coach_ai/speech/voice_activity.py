"""Voice activity detection with Silero VAD, as faster-whisper ships it."""

import os

# Official builds of ONNX Runtime send telemetry unless this is set before they are loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from faster_whisper.vad import VadOptions, get_speech_timestamps

from coach_ai.speech.samples import SAMPLE_RATE, Samples

_WINDOW_SAMPLES = 30 * SAMPLE_RATE
_MIN_SPEECH_SECONDS = 0.5


def count_speech_seconds(samples: Samples, enough_seconds: float = float("inf")) -> float:
    """Return the seconds with voice in mono 16 kHz audio.

    Stops after the window of 30 s in which `enough_seconds` is reached.
    """
    options = VadOptions(min_silence_duration_ms=250, speech_pad_ms=0)
    found = 0.0
    for begin in range(0, len(samples), _WINDOW_SAMPLES):
        parts = get_speech_timestamps(samples[begin : begin + _WINDOW_SAMPLES], options)
        found += sum(part["end"] - part["start"] for part in parts) / SAMPLE_RATE
        if found >= enough_seconds:
            break
    return found


def has_speech(samples: Samples) -> bool:
    """Return True if the audio holds at least half a second of voice."""
    return count_speech_seconds(samples, _MIN_SPEECH_SECONDS) >= _MIN_SPEECH_SECONDS
