"""The composition root of ai."""

import tempfile
from functools import partial
from pathlib import Path

from coach_ai import live, routes, tables, workers
from coach_ai.adapters import embeddings
from coach_ai.adapters.fallback_speech import FallbackTranscriber
from coach_ai.adapters.live_speech import LocalLiveSpeech
from coach_ai.adapters.local_coach import LocalCoach
from coach_ai.adapters.local_speech import LocalTranscriber
from coach_ai.adapters.openai_coach import OpenAICoach
from coach_ai.adapters.openai_speech import OpenAITranscriber
from coach_ai.config import AiSettings
from coach_ai.consumers import SUBSCRIPTIONS
from coach_ai.deps import Deps
from coach_ai.ports import Coach, Transcriber
from coach_ai.use_cases.jobs import Turns
from coach_common.clock import Clock, utc_now
from coach_common.db.database import Database
from coach_common.http.app import create_app
from coach_common.http.dependencies import AppState
from coach_common.messaging.subscriptions import Transport, subscribe
from coach_common.service import Service, Worker
from coach_common.storage import ObjectStore
from coach_common.tokens import AccessTokenVerifier


def build(
    settings: AiSettings,
    transport: Transport,
    *,
    clock: Clock = utc_now,
    tokens: AccessTokenVerifier | None = None,
    objects: ObjectStore | None = None,
    transcriber: Transcriber | None = None,
    coach: Coach | None = None,
    live_speech: LocalLiveSpeech | None = None,
) -> Service[Deps]:
    """Put the service together; nothing runs yet."""
    database = Database.from_settings(settings, "ai", tables.OUTBOX, tables.INBOX, clock)
    store = objects or ObjectStore(settings)
    listener, judge = transcriber or _transcriber(settings), coach or _coach(settings)
    deps = Deps(
        database,
        clock,
        store,
        listener,
        judge,
        Path(tempfile.gettempdir()),
        chat_history_tokens=settings.chat_history_tokens,
        daily_tokens=settings.openai_daily_tokens,
        prices=settings.openai_prices,
    )
    checks = {"database": database.check, "broker": transport.check, "store": store.check}
    state = AppState(deps, tokens or AccessTokenVerifier.from_settings(settings))
    app = create_app(
        "ai", checks=checks | {"speech": listener.check, "coach": judge.check}, state=state
    )
    app.state.provider = "openai" if settings.uses_openai else "local"
    app.include_router(routes.router)
    speaking = live_speech or LocalLiveSpeech(settings.speech_model_dir)
    app.state.live = live.Live(
        deps=deps,
        speech=speaking,
        tokens=state.tokens,
        service_token=settings.service_token,
        folder=settings.live_dir or Path(tempfile.gettempdir()) / "genai-coach-live",
    )
    app.include_router(live.router)
    return Service(
        name="ai",
        app=app,
        settings=settings,
        transport=transport,
        deps=deps,
        database=database,
        package="coach_ai",
        subscriptions=subscribe("ai", deps, SUBSCRIPTIONS),
        workers=_workers(settings, deps) | {"live": app.state.live.sweep},
        retention_tables=(tables.INBOX, tables.TOMBSTONES),
        on_close=(speaking.close, listener.close, judge.close, store.close),
    )


def _workers(settings: AiSettings, deps: Deps) -> dict[str, Worker]:
    turns = Turns()
    found: dict[str, Worker] = {"warm up": partial(workers.warm_up, deps)}
    for number in range(settings.transcription_workers):
        found[f"transcribe {number}"] = partial(workers.transcribe, deps, turns)
    for number in range(settings.feedback_workers):
        found[f"judge {number}"] = partial(workers.judge, deps, turns)
    return found


def _transcriber(settings: AiSettings) -> Transcriber:
    local = LocalTranscriber(settings.speech_model_dir, settings.transcription_workers)

    def openai() -> Transcriber:
        return OpenAITranscriber(
            settings.openai_api_key or "",
            settings.openai_base_url,
            settings.openai_transcribe_model,
            aligner=local,
        )

    first = openai() if settings.uses_openai else local
    if settings.speech_fallback is None or settings.uses_openai == (
        settings.speech_fallback == "openai"
    ):
        return first
    return FallbackTranscriber(first, local if settings.uses_openai else openai())


def _coach(settings: AiSettings) -> Coach:
    if not settings.uses_openai:
        folder = settings.embeddings_model_dir or embeddings.installed()
        if folder is None or not settings.local_embeddings:
            return LocalCoach()
        return LocalCoach(embeddings.Embeddings(folder, embeddings.default_keep()))
    return OpenAICoach(
        settings.openai_api_key or "",
        settings.openai_base_url,
        settings.openai_chat_model,
        scorings=settings.openai_scorings,
    )
