"""Transcribes and scores one answer with OpenAI, and prints the result as JSON.

The test runs it with the packages of the smallest image only. Usage: `… URL RECORDING`.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from coach_ai.app import build
from coach_ai.config import AiSettings
from coach_common.config import SettingsError
from coach_common.events.catalog import DeliveryMeasured, FeedbackGenerated, TranscriptionCompleted
from coach_common.ids import new_id
from coach_common.testing.fakes import FakeTransport
from coach_common.testing.harness import deliver_event, emitted_events, migrated_service
from support.ai_jobs import Case, run_jobs

STORED = {
    "aws_access_key_id": "a",
    "aws_secret_access_key": "s",
    "s3_bucket_name": "b",
    "s3_endpoint_url": "http://127.0.0.1:9",
}


class Store:
    """An object store with one recording under every key."""

    def __init__(self, recording: Path) -> None:
        self._recording = recording

    async def download(self, key: str, *, etag: str, max_bytes: int, directory: Path) -> Path:
        return Path(shutil.copy(self._recording, directory / str(new_id())))

    async def check(self) -> None: ...

    async def close(self) -> None: ...


async def main(url: str, recording: Path, directory: Path) -> dict[str, Any]:
    settings = AiSettings(
        database_url=f"sqlite:///{directory}/ai.db",
        ai_provider="openai",
        openai_base_url=url,
        openai_transcribe_model="whisper-1",
        temp_dir=directory,
        **STORED,
    )
    case = Case(new_id())
    objects: Any = Store(recording)
    async with migrated_service(build(settings, FakeTransport(), objects=objects)) as service:
        await deliver_event(service, case.confirmed())
        completed = case.completed().model_copy(update={"question": "Tell me about a problem."})
        await deliver_event(service, completed)
        await run_jobs(service.deps)
        (transcript,) = await emitted_events(service.database, TranscriptionCompleted)
        (measured,) = await emitted_events(service.database, DeliveryMeasured)
        (feedback,) = await emitted_events(service.database, FeedbackGenerated)
        live_transcriber = service.app.state.live.transcriber
    return {
        "text": transcript.text,
        "duration_seconds": transcript.duration_seconds,
        "audio": transcript.audio,
        "delivery": measured.delivery.model_dump(exclude_none=True),
        "overall_score": feedback.overall_score,
        "live_transcriber": live_transcriber,
    }


def describe_settings_error(directory: Path, **values: Any) -> str:
    try:
        AiSettings.load(database_url=f"sqlite:///{directory}/ai.db", **STORED, **values)
    except SettingsError as error:
        return str(error)
    return ""


with tempfile.TemporaryDirectory() as folder:
    found = asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(folder)))
    print(
        json.dumps(
            found
            | {
                "installed": [
                    name
                    for name in ("av", "ctranslate2", "onnxruntime", "faster_whisper")
                    if find_spec(name) is not None
                ],
                "errors": [
                    describe_settings_error(Path(folder), **values)
                    for values in (
                        {},
                        {"openai_api_key": "k", "speech_provider": "local"},
                        {"openai_api_key": "k", "speech_fallback": "local"},
                    )
                ],
            }
        )
    )
