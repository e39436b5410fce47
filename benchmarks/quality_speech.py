"""The card's word errors, and what measuring the same answer again changes. Needs the model.

The recordings are in the tree: five sentences of a human reader, and the demo's answer, which a
synthetic voice speaks. Each is heard again after every change that a way to the server may bring.
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


AUDIO_CHANGES = {"the same again": AUDIO_CHANGES["nothing"], **AUDIO_CHANGES, "opus": _as_opus}
AUDIO_CHANGES.pop("nothing")


def measure() -> dict[str, Any]:
    """Return the sections of the card."""
    return asyncio.run(_measure())


async def word_errors_now() -> dict[str, Any]:
    """Return the wrong words by speaker, with a recogniser of its own."""
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
                    "spoken_answer": await _again(
                        transcriber, decode(SPOKEN / "answer.m4a"), Path(folder)
                    ),
                    "read_sentences": await _again(transcriber, speech(), Path(folder)),
                },
            }
    finally:
        await transcriber.close()


async def _word_errors(transcriber: LocalTranscriber) -> dict[str, Any]:
    """Return the wrong words by speaker; a recording is heard by itself, as people send it."""
    heard = [await transcriber.transcribe(RECORDINGS / name) for name in WORDS]
    spoken = await transcriber.transcribe(SPOKEN / "answer.m4a")
    return {
        "human_reader": _wrong(" ".join(WORDS.values()), " ".join(one.text for one in heard)),
        "synthetic_voice": _wrong(SPOKEN_WORDS, spoken.text),
    }


async def _again(transcriber: LocalTranscriber, samples: Samples, folder: Path) -> dict[str, Any]:
    """Return what each change does to the words, the scores and the figures of one recording."""
    first = await _heard(transcriber, samples, folder)
    before = delivery.measure(first)
    score = _score(first)
    found: dict[str, Any] = {"score": score, "changes": {}, "metrics": {}}
    values: dict[str, list[float]] = {}
    verdicts: dict[str, set[str]] = {}
    for way, change in AUDIO_CHANGES.items():
        again = await _heard(transcriber, change(samples, folder), folder)
        found["changes"][way] = {"words": _wrong(first.text, again.text), "score": _score(again)}
        for name, one in delivery.measure(again).items():
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


async def _heard(transcriber: LocalTranscriber, samples: Samples, folder: Path) -> Transcript:
    limited = np.clip(samples, -1, 1)
    return await transcriber.transcribe(
        write_recording(folder / "heard.wav", limited, "wav", "pcm_s16le")
    )


def _score(heard: Transcript) -> int | None:
    answer = Answer(
        "Practice", QUESTION, heard.text, heard.language, heard.duration_seconds, heard.words,
        heard.silences, heard.acoustic_features,
    )  # fmt: skip
    return LocalScorer().score_answer(answer).overall_score


def _wrong(known: str, heard: str) -> dict[str, int]:
    """Return the wrong words of all; `ill-disposed` is two words, a stammer in the text counts."""
    known, heard = known.replace("-", " "), heard.replace("-", " ")
    total = len(known.split())
    return {"count": round(word_error_rate(known, heard) * total), "total": total}
