"""Transcription: from the confirmed bytes in the store to words."""

import asyncio
import time
from dataclasses import asdict
from typing import Any

from prometheus_client import Counter, Histogram

from coach_ai import delivery
from coach_ai.deps import Deps
from coach_ai.domain import (
    CannotTranscribe,
    Job,
    JobKind,
    Progress,
    Recording,
    SoundTrack,
    Transcript,
)
from coach_ai.ports import Tell
from coach_ai.store import answers, jobs, recordings
from coach_common import logs
from coach_common.errors import Conflict, NotFound, Unavailable
from coach_common.events.catalog import (
    DeliveryMeasured,
    TranscriptionCompleted,
    TranscriptionFailed,
    TranscriptionProgressed,
)
from coach_common.events.feedback import DeliveryMetrics

log = logs.get_logger(__name__)

TRANSCRIBING = Counter("coach_ai_transcribing_seconds", "Time the provider took, in all.")
TRANSCRIBED = Counter("coach_ai_transcribed_audio_seconds", "Length of what was transcribed.")
MEASURED = Counter(
    "coach_ai_deliveries", "Recordings by whether they could be measured.", ["is_measurable"]
)

EARLY = Histogram(
    "coach_ai_sound_measured_seconds",
    "Time from a recording's claim to what its sound alone tells.",
    buckets=(0.2, 0.5, 1, 2, 3, 5, 10, 30),
)


async def transcribe_recording(deps: Deps, job: Job) -> None:
    """Transcribe a recording and tell; have the sessions judged that wait for its words."""
    async with deps.db.read_only() as tx:
        recording = await recordings.find_recording(tx, job.subject_id)
    if recording is None:
        async with deps.db.transaction() as tx:
            await jobs.finish_job(tx, job)
        return
    began = time.perf_counter()

    async def tell(news: SoundTrack | Progress) -> None:
        try:
            await _tell(deps, job, news)
        except Unavailable as error:
            # It comes too late or not at all; the words themselves are what counts.
            log.warning("transcription.untold", reason=str(error))
        if isinstance(news, SoundTrack):
            EARLY.observe(time.perf_counter() - began)

    transcript = await _listen(deps, recording, tell)
    TRANSCRIBED.inc(transcript.duration_seconds)
    measured = delivery.measure(transcript)
    MEASURED.labels("no" if "status" in measured else "yes").inc()
    async with deps.db.transaction() as tx:
        if not await jobs.finish_job(tx, job):
            return
        known = await recordings.find_recording(tx, job.subject_id) or recording
        await recordings.record_transcript(tx, recording.upload_id, transcript)
        await tx.emit(
            TranscriptionCompleted(
                **_about(known),
                text=transcript.text,
                language=transcript.language,
                duration_seconds=transcript.duration_seconds,
                provider=transcript.provider,
                model=transcript.model,
            )
        )
        metrics = DeliveryMetrics.model_validate(measured)
        await tx.emit(DeliveryMeasured(**_about(known), delivery=metrics))
        for session in await answers.list_sessions_of_key(
            tx, recording.key, user_id=recording.user_id
        ):
            await jobs.add_job(
                tx, JobKind.FEEDBACK, session.session_id, session.user_id, at=deps.clock()
            )
    deps.ring(JobKind.FEEDBACK)


async def _tell(deps: Deps, job: Job, news: SoundTrack | Progress) -> None:
    """Tell what is known of a recording before its words, while it is ours to transcribe."""
    measured = delivery.measure_sound(news) if isinstance(news, SoundTrack) else None
    if isinstance(news, SoundTrack) and measured is None:
        return
    async with deps.db.transaction() as tx:
        recording = await recordings.find_recording(tx, job.subject_id)
        if recording is None or not await jobs.renew_lease(tx, job):
            return
        about = _about(recording)
        if measured is not None:
            metrics = DeliveryMetrics.model_validate(measured)
            await tx.emit(DeliveryMeasured(**about, delivery=metrics, is_complete=False))
        else:
            await tx.emit(TranscriptionProgressed(**about, **asdict(news)))


async def fail_transcription(deps: Deps, job: Job, reason: str, is_final: bool) -> None:
    """Tell that a recording has no words: for good, or not yet."""
    async with deps.db.transaction() as tx:
        if is_final and not await jobs.finish_job(tx, job):
            return
        recording = await recordings.find_recording(tx, job.subject_id)
        if recording is None:
            return
        await tx.emit(
            TranscriptionFailed(**_about(recording), reason=reason, retryable=not is_final)
        )
        if is_final:
            await recordings.mark_failed(tx, recording.upload_id)
            for session in await answers.list_sessions_of_key(
                tx, recording.key, user_id=recording.user_id
            ):
                # The person's own words stand in where there are any.
                if session.client_transcript:
                    await jobs.add_job(
                        tx, JobKind.FEEDBACK, session.session_id, session.user_id, at=deps.clock()
                    )
    deps.ring(JobKind.FEEDBACK)


def _about(recording: Recording) -> dict[str, Any]:
    """Return what every event about a recording says of it."""
    return {
        "upload_id": recording.upload_id,
        "user_id": recording.user_id,
        "key": recording.key,
        "session_id": recording.session_id,
    }


async def _listen(deps: Deps, recording: Recording, tell: Tell) -> Transcript:
    try:
        file = await deps.objects.download(
            recording.key,
            etag=recording.etag,
            max_bytes=recording.size_bytes,
            directory=deps.folder,
        )
    except NotFound:
        raise CannotTranscribe("The recording is no longer in the store.") from None
    except Conflict as error:
        raise CannotTranscribe(str(error)) from None
    began = time.perf_counter()
    try:
        return await deps.transcriber.transcribe(file, tell)
    finally:
        TRANSCRIBING.inc(time.perf_counter() - began)
        await asyncio.to_thread(file.unlink, missing_ok=True)
