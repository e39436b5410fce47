"""Detection of filled pauses that the real recogniser omits."""

from pathlib import Path

import av
import numpy as np
import pytest

from coach_ai.delivery.fillers import FILLED_PAUSES, held_vowels_between
from coach_ai.delivery.words import normalise_word
from coach_ai.speech.audio import SAMPLE_RATE, decode
from coach_ai.speech.local_transcriber import LocalTranscriber
from support.voices import overlaps, with_hesitations

pytestmark = pytest.mark.speech

RECORDINGS = sorted((Path(__file__).parents[4] / "tests" / "recordings").glob("*.wav"))


async def test_filled_pauses_missing_from_the_transcript_are_detected(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(11)
    transcriber = LocalTranscriber(None)
    planted = found = false = unwritten = 0
    try:
        for recording in RECORDINGS:
            spliced, spans = with_hesitations(decode(recording), rng)
            transcript = await transcriber.transcribe(_written(tmp_path / recording.name, spliced))
            assert transcript.acoustic_features is not None
            written = [
                word for word in transcript.words if normalise_word(word.text) in FILLED_PAUSES
            ]
            vowels = [
                *held_vowels_between(transcript.acoustic_features.held_vowels, transcript.words),
                *written,
            ]
            planted += len(spans)
            unwritten += len(spans) - len(written)
            found += sum(any(overlaps(vowel, span) for vowel in vowels) for span in spans)
            false += sum(not any(overlaps(vowel, span) for span in spans) for vowel in vowels)
    finally:
        await transcriber.close()

    assert planted == 13
    assert unwritten / planted >= 0.8, "the recogniser writes them down by itself"
    assert found / planted >= 0.7
    assert false <= 1


def _written(file: Path, samples: np.ndarray) -> Path:
    with av.open(str(file), mode="w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=SAMPLE_RATE)
        frame = av.AudioFrame.from_ndarray(
            (samples * 32767).astype(np.int16).reshape(1, -1), format="s16", layout="mono"
        )
        frame.sample_rate = SAMPLE_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file
