"""Word errors and robustness to audio changes, for the quality report. Needs the speech model.

The recordings are in the repository: five sentences of a human reader, and the demo's answer by a
synthetic voice. Each is transcribed again after every audio change.
"""

import asyncio
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from coach_ai import delivery  # noqa: E402
from coach_ai.domain import Answer, Transcript  # noqa: E402
from coach_ai.scoring.local.scorer import LocalScorer  # noqa: E402
from coach_ai.speech.audio import decode  # noqa: E402
from coach_ai.speech.local_transcriber import LocalTranscriber  # noqa: E402
from coach_ai.speech.whisper_model import MODEL  # noqa: E402
from coach_embedded.demo import word_error_rate  # noqa: E402
from support.sounds import RECORDINGS, WORDS, speech, write_recording  # noqa: E402
from support.voices import AUDIO_CHANGES, Samples  # noqa: E402

SPOKEN = Path(str(files("coach_embedded") / "recordings"))
SPOKEN_WORDS = (SPOKEN / "answer.txt").read_text("utf-8")
QUESTION = "Tell me about a time you solved a difficult problem."


def _as_opus(samples: Samples, folder: Path) -> Samples:
    return decode(write_recording(folder / "sent.webm", samples, "webm", "libopus"))


CHANGES = {"the same again": AUDIO_CHANGES["nothing"], **AUDIO_CHANGES, "opus": _as_opus}
CHANGES.pop("nothing")


def measure() -> dict[str, Any]:
    """Return this part of the report."""
    return asyncio.run(_measure())


async def word_errors_now() -> dict[str, Any]:
    """Return the wrong words by speaker, with a new transcriber."""
    transcriber = LocalTranscriber(None)
    try:
        return await _word_errors(transcriber)
    finally:
        await transcriber.close()


async def _measure() -> dict[str, Any]:
    transcriber = LocalTranscriber(None)
    try:
        with tempfile.TemporaryDirectory(prefix="coach-quality-") as folder:
            return {
                "speech_model": MODEL,
                "word_errors": await _word_errors(transcriber),
                "audio_robustness": {
                    "spoken_answer": await _robustness(
                        transcriber, decode(SPOKEN / "answer.m4a"), Path(folder)
                    ),
                    "read_sentences": await _robustness(transcriber, speech(), Path(folder)),
                },
            }
    finally:
        await transcriber.close()


async def _word_errors(transcriber: LocalTranscriber) -> dict[str, Any]:
    """Return the wrong words by speaker. Each recording is transcribed separately."""
    transcripts = [await transcriber.transcribe(RECORDINGS / name) for name in WORDS]
    spoken = await transcriber.transcribe(SPOKEN / "answer.m4a")
    return {
        "human_reader": _wrong_words(
            " ".join(WORDS.values()), " ".join(one.text for one in transcripts)
        ),
        "synthetic_voice": _wrong_words(SPOKEN_WORDS, spoken.text),
    }


async def _robustness(
    transcriber: LocalTranscriber, samples: Samples, folder: Path
) -> dict[str, Any]:
    """Return the words, score and metrics of one recording after each change."""
    first = await _transcribe(transcriber, samples, folder)
    before = delivery.measure(first)
    score = _score(first)
    found: dict[str, Any] = {"score": score, "changes": {}, "metrics": {}}
    values: dict[str, list[float]] = {}
    verdicts: dict[str, set[str]] = {}
    for change_name, change in CHANGES.items():
        changed = await _transcribe(transcriber, change(samples, folder), folder)
        found["changes"][change_name] = {
            "words": _wrong_words(first.text, changed.text),
            "score": _score(changed),
        }
        for name, one in delivery.measure(changed).items():
            verdicts.setdefault(name, {before[name]["verdict"]}).add(one["verdict"])
            if one["value"] is not None and before[name]["value"] is not None:
                values.setdefault(name, [before[name]["value"]]).append(one["value"])
    for name, all_values in values.items():
        found["metrics"][name] = {
            "unit": before[name]["unit"],
            "first": all_values[0],
            "minimum": min(all_values),
            "maximum": max(all_values),
            "verdicts": len(verdicts[name]),
        }
    return found


async def _transcribe(transcriber: LocalTranscriber, samples: Samples, folder: Path) -> Transcript:
    limited = np.clip(samples, -1, 1)
    return await transcriber.transcribe(
        write_recording(folder / "transcript.wav", limited, "wav", "pcm_s16le")
    )


def _score(transcript: Transcript) -> int | None:
    answer = Answer(
        "Practice", QUESTION, transcript.text, transcript.language, transcript.duration_seconds,
        transcript.words, transcript.silences, transcript.acoustic_features,
    )  # fmt: skip
    return LocalScorer().score_answer(answer).overall_score


def _wrong_words(known: str, transcript: str) -> dict[str, int]:
    """Return the wrong words out of all. `ill-disposed` counts as two words."""
    known, transcript = known.replace("-", " "), transcript.replace("-", " ")
    total = len(known.split())
    return {"count": round(word_error_rate(known, transcript) * total), "total": total}
