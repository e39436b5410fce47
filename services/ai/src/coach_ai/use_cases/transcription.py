"""Transcription: from the confirmed recording in the object store to its transcript."""

import time
from dataclasses import asdict
from typing import Any, TypedDict
from uuid import UUID

from prometheus_client import Counter, Histogram

from coach_ai import delivery
from coach_ai.deps import Deps
from coach_ai.domain import (
    AudioAnalysis,
    AudioCoverage,
    CannotTranscribe,
    Job,
    JobFailure,
    JobKind,
    Progress,
    Recording,
    Transcript,
)
from coach_ai.ports import ProgressCallback
from coach_ai.store import answers, jobs, profiles, recordings
from coach_ai.use_cases.budget import open_budget
from coach_ai.use_cases.job_queue import queue_job
from coach_ai.use_cases.jobs import ResultWriter
from coach_ai.use_cases.provider_outage import report_outage
from coach_ai.use_cases.recognition_prompt import build_session_prompt
from coach_common import logs
from coach_common.db.transaction import Transaction
from coach_common.errors import Conflict, NotFound, Unavailable
from coach_common.events import feedback as events
from coach_common.events.catalog import (
    DeliveryMeasured,
    TranscriptionCompleted,
    TranscriptionFailed,
    TranscriptionProgressed,
)
from coach_common.events.feedback import DeliveryMetrics

log = logs.get_logger(__name__)

TRANSCRIBING_SECONDS = Counter(
    "coach_ai_transcribing_seconds", "Time that transcription providers took."
)
TRANSCRIBED_SECONDS = Counter(
    "coach_ai_transcribed_audio_seconds", "Duration of the transcribed audio."
)
SPEECH_METRICS = Counter(
    "coach_ai_speech_metrics", "Recordings by whether they could be measured.", ["measurable"]
)
FIRST_METRICS_SECONDS = Histogram(
    "coach_ai_audio_analysis_seconds",
    "Time from a recording's claim to its audio analysis.",
    buckets=(0.2, 0.5, 1, 2, 3, 5, 10, 30),
)

BUDGET_EXCEEDED_REASON = (
    "Today's transcription budget is used up. This recording will be transcribed tomorrow."
)


class _RecordingFields(TypedDict):
    upload_id: UUID
    user_id: UUID
    key: str
    session_id: UUID | None


async def emit_start(tx: Transaction, job: Job) -> None:
    """Emit that the transcription of a recording has started. Its duration is not known yet."""
    recording = await recordings.find_recording(tx, job.subject_id)
    if recording is not None:
        await tx.emit(
            TranscriptionProgressed(**_event_fields(recording), done_seconds=0, duration_seconds=0)
        )


async def emit_restart(tx: Transaction, recording: Recording) -> None:
    """Emit that a recording, whose transcription had failed for good, is transcribed again."""
    await tx.emit(
        TranscriptionProgressed(
            **_event_fields(recording), done_seconds=0, duration_seconds=0, is_restart=True
        )
    )


async def transcribe_recording(deps: Deps, job: Job) -> ResultWriter:
    """Transcribe a recording. The writer emits the transcript and the delivery metrics.

    It also queues scoring for every completed session that waits for this recording. Without a
    recording, because it was deleted, there is no result.
    """
    async with deps.db.read_only() as tx:
        recording = await recordings.find_recording(tx, job.subject_id)
        if recording is None:
            return _write_nothing
        prompt = await build_session_prompt(tx, recording.session_id, user_id=recording.user_id)
    started_at = time.perf_counter()

    async def on_progress(update: AudioAnalysis | Progress) -> None:
        try:
            await _publish_progress(deps, job, update)
        except Unavailable as error:
            # Progress is optional: the transcription continues without it.
            log.warning("transcription.progress_not_published", reason=str(error))
        if isinstance(update, AudioAnalysis):
            FIRST_METRICS_SECONDS.observe(time.perf_counter() - started_at)

    async with report_outage(deps, job, deps.transcriber.check, fail_transcription):
        transcript = await _transcribe(deps, recording, on_progress, prompt)
    TRANSCRIBED_SECONDS.inc(transcript.duration_seconds)

    async def write(tx: Transaction) -> None:
        # Read again: the recording may have been linked to a session meanwhile.
        stored = await recordings.find_recording(tx, recording.upload_id) or recording
        await recordings.save_transcript(tx, recording.upload_id, transcript, at=deps.clock())
        switched_off = await profiles.list_accommodations(tx, recording.user_id)
        metrics = delivery.measure(transcript, switched_off)
        await emit_transcript(tx, stored, transcript, metrics)
        tx.after_commit(SPEECH_METRICS.labels("no" if "status" in metrics else "yes").inc)
        for session in await answers.list_unscored_sessions(
            tx, recording.key, user_id=recording.user_id
        ):
            await queue_job(deps, tx, JobKind.FEEDBACK, session.session_id, session.user_id)

    return write


async def _write_nothing(tx: Transaction) -> None:
    """Write no result: the job is only removed."""


async def _publish_progress(deps: Deps, job: Job, update: AudioAnalysis | Progress) -> None:
    """Emit acoustic metrics or progress, unless the job's lease was lost."""
    metrics = None
    if isinstance(update, AudioAnalysis):
        async with deps.db.read_only() as tx:
            switched_off = await profiles.list_accommodations(tx, job.user_id)
        metrics = delivery.measure_audio(update, switched_off)
        if metrics is None:
            return
    async with deps.db.transaction() as tx:
        recording = await recordings.find_recording(tx, job.subject_id)
        if recording is None or not await jobs.renew_lease(tx, job):
            return
        fields = _event_fields(recording)
        if metrics is not None:
            await tx.emit(
                DeliveryMeasured(
                    **fields, delivery=DeliveryMetrics.model_validate(metrics), is_complete=False
                )
            )
        else:
            await tx.emit(TranscriptionProgressed(**fields, **asdict(update)))


async def emit_transcript(
    tx: Transaction, recording: Recording, transcript: Transcript, metrics: dict[str, Any]
) -> None:
    """Emit the transcript of a recording and its delivery metrics."""
    await tx.emit(
        TranscriptionCompleted(
            **_event_fields(recording),
            text=transcript.text,
            language=transcript.language,
            duration_seconds=transcript.duration_seconds,
            provider=transcript.provider,
            model=transcript.model,
            audio=audio_coverage_event(transcript.coverage),
            words=[
                events.TranscribedWord(text=word.text, start=word.start, end=word.end)
                for word in transcript.words
            ],
        )
    )
    await tx.emit(
        DeliveryMeasured(
            **_event_fields(recording), delivery=DeliveryMetrics.model_validate(metrics)
        )
    )


async def emit_failure(tx: Transaction, recording: Recording, failure: JobFailure) -> None:
    """Emit why a recording was not transcribed."""
    await tx.emit(
        TranscriptionFailed(
            **_event_fields(recording),
            reason=failure.reason,
            retryable=not failure.is_final,
            restartable=failure.is_restartable,
        )
    )


async def fail_transcription(deps: Deps, tx: Transaction, job: Job, failure: JobFailure) -> None:
    """Emit `transcription.failed`.

    After a final failure, scoring is queued for the sessions that have a client transcript.
    """
    recording = await recordings.find_recording(tx, job.subject_id)
    if recording is None:
        return
    await emit_failure(tx, recording, failure)
    if failure.is_final:
        await recordings.mark_failed(
            tx,
            recording.upload_id,
            failure.reason,
            is_restartable=failure.is_restartable,
            at=deps.clock(),
        )
        for session in await answers.list_unscored_sessions(
            tx, recording.key, user_id=recording.user_id
        ):
            if session.client_transcript:
                await queue_job(deps, tx, JobKind.FEEDBACK, session.session_id, session.user_id)


def audio_coverage_event(coverage: AudioCoverage | None) -> events.AudioCoverage | None:
    """Return how much of a recording was transcribed, as events carry it."""
    if coverage is None:
        return None
    return events.AudioCoverage(
        duration_seconds=coverage.duration_seconds,
        heard_seconds=coverage.heard_seconds,
        gaps=[
            events.AudioGap.model_validate(
                {name: value for name, value in asdict(gap).items() if value is not None}
            )
            for gap in coverage.gaps
        ],
    )


def _event_fields(recording: Recording) -> _RecordingFields:
    """Return the fields that all events about a recording share."""
    return {
        "upload_id": recording.upload_id,
        "user_id": recording.user_id,
        "key": recording.key,
        "session_id": recording.session_id,
    }


async def _transcribe(
    deps: Deps, recording: Recording, on_progress: ProgressCallback, prompt: str
) -> Transcript:
    """Download the confirmed content to a temporary file, transcribe it, and delete the file."""
    try:
        file = await deps.objects.download(
            recording.key,
            etag=recording.etag,
            max_bytes=recording.size_bytes,
            directory=deps.downloads.path,
        )
    except NotFound:
        raise CannotTranscribe("The recording is no longer in the store.") from None
    except Conflict as error:
        raise CannotTranscribe(str(error)) from None
    started_at = time.perf_counter()
    try:
        async with open_budget(
            deps, recording.user_id, "transcribe", reason=BUDGET_EXCEEDED_REASON
        ) as budget:
            return await deps.transcriber.transcribe(
                file, on_progress, prompt=prompt, budget=budget
            )
    finally:
        TRANSCRIBING_SECONDS.inc(time.perf_counter() - started_at)
        deps.downloads.discard(file)
