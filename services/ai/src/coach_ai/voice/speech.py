"""Speech as samples, and as a WAV file."""

import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

SAMPLE_BYTES = 2


class VoiceName(StrEnum):
    """A voice that every provider has, by its pitch."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class InvalidSpeech(ValueError):
    """The data is no speech in our format."""


@dataclass(frozen=True, slots=True)
class Speech:
    """Speech of one channel: little-endian samples of 16 bits."""

    samples: bytes
    sample_rate: int

    @classmethod
    def from_wav(cls, data: bytes) -> "Speech":
        """Read a WAV file, also one whose header states no length.

        Raises:
            InvalidSpeech: If it is no WAV file of one channel with samples of 16 bits.
        """
        try:
            with wave.open(io.BytesIO(data)) as file:
                if (file.getnchannels(), file.getsampwidth()) != (1, SAMPLE_BYTES):
                    raise InvalidSpeech("the WAV file has not one channel with 16 bits")
                samples = file.readframes(file.getnframes())
                return cls(
                    samples[: len(samples) // SAMPLE_BYTES * SAMPLE_BYTES], file.getframerate()
                )
        except (wave.Error, EOFError) as error:
            raise InvalidSpeech("the data is no WAV file") from error


def encode_wav(parts: Sequence[Speech]) -> bytes:
    """Return a WAV file of consecutive parts. Raises InvalidSpeech if their rates differ."""
    rates = {part.sample_rate for part in parts}
    if len(rates) != 1:
        raise InvalidSpeech(f"the parts have {len(rates)} sample rates")
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(SAMPLE_BYTES)
        file.setframerate(rates.pop())
        file.writeframes(b"".join(part.samples for part in parts))
    return target.getvalue()
