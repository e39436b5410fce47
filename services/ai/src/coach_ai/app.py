"""The composition root of ai.

The local scorer, chat and embeddings are imported only if the settings select them. Their packages
are an extra, which the smallest image does not install.
"""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Depends

from coach_ai import routes, tables, workers
from coach_ai.config import AiSettings, has_local_providers
from coach_ai.consent import ConsentPolicy
from coach_ai.consent_dependency import apply_consent_of_caller
from coach_ai.consenting_providers import (
    ConsentingChat,
    ConsentingInterviewer,
    ConsentingRewriter,
    ConsentingScorer,
    ConsentingTranscriber,
    ConsentingVoice,
)
from coach_ai.consumers import SUBSCRIPTIONS
from coach_ai.deps import Deps
from coach_ai.downloads import DownloadDirectory
from coach_ai.interview.rule_interviewer import RuleInterviewer
from coach_ai.openai.chat import OpenAIChat
from coach_ai.openai.interviewer import OpenAIInterviewer
from coach_ai.openai.recording_splitter import DecodingSplitter, UnchangedSplitter
from coach_ai.openai.rewriter import OpenAIRewriter
from coach_ai.openai.scorer import OpenAIScorer
from coach_ai.openai.transcriber import OpenAITranscriber
from coach_ai.openai.voice import OpenAIVoice
from coach_ai.ports import Chat, Interviewer, Rewriter, Scorer, Transcriber, Voice
from coach_ai.profile.similarity import StoryMatcher
from coach_ai.public_routers import PUBLIC_ROUTERS
from coach_ai.speech import live_service
from coach_ai.speech.fallback_transcriber import FallbackTranscriber
from coach_ai.speech.live_transcriber import LocalLiveTranscriber
from coach_ai.speech.local_transcriber import LocalTranscriber
from coach_ai.speech.recording_file import RecordingDirectory
from coach_ai.use_cases.jobs import FairScheduler
from coach_ai.voice.espeak_voice import EspeakVoice, find_espeak
from coach_ai.voice.piper_voice import PiperVoice, find_piper
from coach_common.clock import Clock, utc_now
from coach_common.db.database import Database
from coach_common.db.deletion_log import DeletionLog
from coach_common.events.interviews import InterviewDeleted
from coach_common.http.app import create_app
from coach_common.http.dependencies import AppState
from coach_common.messaging.subscriptions import Transport, subscribe
from coach_common.service import Service, Worker
from coach_common.storage import ObjectStore
from coach_common.tokens import AccessTokenVerifier

if TYPE_CHECKING:
    from coach_ai.embeddings import Embeddings
    from coach_ai.scoring.local.scorer import LocalScorer


def build(
    settings: AiSettings,
    transport: Transport,
    *,
    clock: Clock = utc_now,
    tokens: AccessTokenVerifier | None = None,
    objects: ObjectStore | None = None,
    transcriber: Transcriber | None = None,
    scorer: Scorer | None = None,
    chat: Chat | None = None,
    rewriter: Rewriter | None = None,
    live_transcriber: LocalLiveTranscriber | None = None,
    voice: Voice | None = None,
) -> Service[Deps]:
    """Assemble the service without starting it. Tests replace parts by keyword."""
    database = Database.from_settings(settings, "ai", tables.OUTBOX, tables.INBOX, clock)
    embedder = cache(partial(_embedder, settings))
    local_scorer = cache(partial(_local_scorer, embedder))
    repair_delay = timedelta(seconds=settings.repair_seconds)
    chosen_voice, fallback_voice = (voice, None) if voice else _voices(settings)
    deps = Deps(
        database,
        clock,
        objects or ObjectStore(settings),
        transcriber or _consenting_transcriber(settings),
        scorer or _scorer(settings, local_scorer),
        chat or _chat(settings, embedder),
        rewriter or _rewriter(settings, local_scorer),
        DeletionLog(
            database,
            tables.DELETIONS,
            InterviewDeleted,
            clock=clock,
            delay=repair_delay,
        ),
        DownloadDirectory(
            settings.temp_dir
            or Path(tempfile.gettempdir()) / f"genai-coach-downloads-{os.geteuid()}"
        ),
        provider="openai" if settings.uses_openai else "local",
        interviewer=_interviewer(settings),
        chat_history_tokens=settings.chat_history_tokens,
        daily_tokens=settings.openai_daily_tokens,
        prices=settings.openai_prices,
        voice=chosen_voice,
        fallback_voice=fallback_voice,
        silence_seconds=settings.interview_silence_seconds,
        get_encoder=embedder,
        get_story_matcher=cache(partial(_story_matcher, embedder)),
        consent=ConsentPolicy(
            has_outside_provider=settings.calls_outside_provider,
            is_opt_in=settings.outside_provider_consent == "opt_in",
        ),
        repair_delay=repair_delay,
    )
    state = AppState(deps, tokens or AccessTokenVerifier.from_settings(settings))
    app = create_app(
        "ai",
        checks={
            "database": database.check,
            "broker": transport.check,
            "store": deps.objects.check,
            "speech": deps.transcriber.check,
            "scorer": deps.scorer.check,
            "coach": deps.chat.check,
        },
        state=state,
    )
    live = live_transcriber
    if live is None and has_local_providers():
        live = LocalLiveTranscriber(settings.speech_model_dir)
    recordings = live_service.LiveRecordingService(
        deps=deps,
        transcriber=live,
        token_verifier=state.tokens,
        service_token=settings.service_token,
        directory=RecordingDirectory(settings.live_dir or _temporary_live_dir(settings)),
    )
    live_service.set_live_service(app, recordings)
    # Before the routes are included, so that all of them have it.
    app.router.dependencies.append(Depends(apply_consent_of_caller))
    for router in PUBLIC_ROUTERS:
        app.include_router(router)
    app.include_router(routes.internal_router)
    app.include_router(live_service.router)
    return Service(
        name="ai",
        app=app,
        settings=settings,
        transport=transport,
        deps=deps,
        database=database,
        package="coach_ai",
        subscriptions=subscribe("ai", deps, SUBSCRIPTIONS),
        workers=_workers(settings, deps)
        | {
            "abandoned_recordings": recordings.store_abandoned,
            "republish_deletions": deps.deletions.run,
            "republish_interviews": partial(workers.republish_interviews, deps),
        },
        retention_tables=(tables.INBOX, tables.TOMBSTONES),
        on_start=(partial(asyncio.to_thread, deps.downloads.delete_abandoned),),
        drain=deps.drain.close,
        on_close=(
            *([] if live is None else [live.close]),
            deps.transcriber.close,
            deps.scorer.close,
            deps.chat.close,
            deps.rewriter.close,
            deps.interviewer.close,
            *(one.close for one in (deps.voice, deps.fallback_voice) if one is not None),
            deps.objects.close,
            partial(_close_downloads, deps.downloads),
        ),
    )


def _temporary_live_dir(settings: AiSettings) -> Path:
    """Return a directory that only processes of this account and this bucket share."""
    bucket = f"{settings.s3_endpoint_url}/{settings.s3_bucket_name}"
    name = f"genai-coach-live-{os.geteuid()}-{hashlib.sha256(bucket.encode()).hexdigest()[:16]}"
    return Path(tempfile.gettempdir()) / name


async def _close_downloads(downloads: DownloadDirectory) -> None:
    await asyncio.to_thread(downloads.close)


def _workers(settings: AiSettings, deps: Deps) -> dict[str, Worker]:
    scheduler = FairScheduler(settings.effective_instance_id)
    by_name: dict[str, Worker] = {
        "warm_up": partial(workers.warm_up, deps),
        "backlog": partial(workers.observe_backlog, deps),
        "disputes": partial(workers.score_disputed_answers, deps, scheduler),
    }
    for number in range(settings.transcriptions_at_once):
        by_name[f"transcription_{number}"] = partial(workers.transcribe_recordings, deps, scheduler)
    for number in range(settings.scorings_at_once):
        by_name[f"scoring_{number}"] = partial(workers.score_sessions, deps, scheduler)
    return by_name


def _transcriber(settings: AiSettings) -> Transcriber:
    """Return the configured transcriber, with its fallback if one is set.

    OpenAI gets recordings re-encoded and in chunks if a decoder is installed, else unchanged.
    """
    processes = 1 if settings.uses_openai_speech else settings.transcriptions_at_once
    local = LocalTranscriber(settings.speech_model_dir, processes)

    def openai() -> Transcriber:
        is_local_installed = has_local_providers()
        return OpenAITranscriber(
            settings.openai_api_key or "",
            settings.openai_transcribe_base_url or settings.openai_base_url,
            settings.openai_transcribe_model,
            aligner=local if is_local_installed else None,
            splitter=DecodingSplitter() if is_local_installed else UnchangedSplitter(),
            timeout_seconds=settings.openai_timeout_seconds,
        )

    primary = openai() if settings.uses_openai_speech else local
    if settings.speech_fallback is None or settings.uses_openai_speech == (
        settings.speech_fallback == "openai"
    ):
        return primary
    return FallbackTranscriber(primary, local if settings.uses_openai_speech else openai())


def _consenting_transcriber(settings: AiSettings) -> Transcriber:
    transcriber = _transcriber(settings)
    if not settings.uses_openai_speech:
        return transcriber
    local = partial(LocalTranscriber, settings.speech_model_dir, 1)
    return ConsentingTranscriber(transcriber, local if has_local_providers() else None)


def _embedder(settings: AiSettings) -> "Embeddings | None":
    """Return the embeddings that the local scorer and the local chat share, if they are enabled."""
    if not settings.local_embeddings or not has_local_providers():
        return None
    from coach_ai import embeddings

    model_dir = settings.embeddings_model_dir or embeddings.find_installed()
    if model_dir is None:
        return None
    return embeddings.Embeddings(model_dir, embeddings.default_cache_dir())


def _story_matcher(get_embedder: "Callable[[], Embeddings | None]") -> StoryMatcher | None:
    embedder = get_embedder()
    if embedder is None:
        return None
    from coach_ai.profile.story_matching import RelevanceStoryMatcher

    return RelevanceStoryMatcher(embedder)


def _local_scorer(get_embedder: "Callable[[], Embeddings | None]") -> "LocalScorer":
    from coach_ai.scoring.local.scorer import LocalScorer

    return LocalScorer(get_embedder())


def _scorer(settings: AiSettings, create_local: "Callable[[], LocalScorer]") -> Scorer:
    if not settings.uses_openai:
        return create_local()
    outside = OpenAIScorer(
        settings.openai_api_key or "",
        settings.openai_base_url,
        settings.openai_chat_model,
        samples=settings.openai_scorings,
        timeout_seconds=settings.openai_timeout_seconds,
    )
    return ConsentingScorer(outside, create_local if has_local_providers() else None)


def _rewriter(settings: AiSettings, get_scorer: "Callable[[], LocalScorer]") -> Rewriter:
    """Return the configured rewriter. The local one loads the scorer when it is first used."""

    def create_local() -> Rewriter:
        from coach_ai.rewriting.local import LocalRewriter

        return LocalRewriter(get_scorer)

    if not settings.uses_openai:
        return create_local()
    outside = OpenAIRewriter(
        settings.openai_api_key or "",
        settings.openai_base_url,
        settings.openai_chat_model,
        timeout_seconds=settings.openai_timeout_seconds,
    )
    return ConsentingRewriter(outside, create_local if has_local_providers() else None)


def _chat(settings: AiSettings, get_embedder: "Callable[[], Embeddings | None]") -> Chat:
    def create_local() -> Chat:
        from coach_ai.chat.local_chat import LocalChat

        return LocalChat(get_embedder())

    if not settings.uses_openai:
        return create_local()
    outside = OpenAIChat(
        settings.openai_api_key or "",
        settings.openai_base_url,
        settings.openai_chat_model,
        timeout_seconds=settings.openai_timeout_seconds,
    )
    return ConsentingChat(outside, create_local if has_local_providers() else None)


def _interviewer(settings: AiSettings) -> Interviewer:
    if not settings.uses_openai:
        return RuleInterviewer()
    return ConsentingInterviewer(
        OpenAIInterviewer(
            settings.openai_api_key or "",
            settings.openai_base_url,
            settings.openai_chat_model,
            timeout_seconds=settings.openai_timeout_seconds,
        )
    )


def _voices(settings: AiSettings) -> tuple[Voice | None, Voice | None]:
    """Return the configured voice, and the one that speaks while it is unavailable."""
    if settings.voice_provider == "none":
        return None, None
    program = find_espeak()
    local = None if program is None else EspeakVoice(program)
    if settings.voice_provider == "piper" and settings.piper_voice is not None:
        piper = find_piper(settings.piper_program, settings.piper_voice)
        if piper is not None:
            return PiperVoice(piper, settings.piper_voice), local
    if not settings.uses_openai_voice:
        return local, None
    outside = OpenAIVoice(
        settings.openai_api_key or "",
        settings.openai_base_url,
        settings.openai_voice_model,
        timeout_seconds=settings.openai_timeout_seconds,
    )
    return ConsentingVoice(outside, None if local is None else lambda: local), None
