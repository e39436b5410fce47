"""Composition root of sessions."""

from datetime import timedelta
from functools import partial

from coach_common.clock import Clock, utc_now
from coach_common.db.database import Database
from coach_common.db.deletion_log import DeletionLog
from coach_common.events.catalog import SessionDeleted
from coach_common.http.app import create_app
from coach_common.http.dependencies import AppState
from coach_common.messaging.subscriptions import Transport, subscribe
from coach_common.service import Service
from coach_common.tokens import AccessTokenVerifier
from coach_sessions import tables, workers
from coach_sessions.adapters.media_http import HttpUploadedRecordings
from coach_sessions.adapters.questions_http import HttpQuestions
from coach_sessions.config import SessionsSettings
from coach_sessions.consumers import SUBSCRIPTIONS
from coach_sessions.deps import Deps, Questions, UploadedRecordings
from coach_sessions.public_routers import PUBLIC_ROUTERS


def build(
    settings: SessionsSettings,
    transport: Transport,
    *,
    clock: Clock = utc_now,
    tokens: AccessTokenVerifier | None = None,
    uploaded_recordings: UploadedRecordings | None = None,
    questions: Questions | None = None,
) -> Service[Deps]:
    """Build the service without starting it."""
    database = Database.from_settings(settings, "sessions", tables.OUTBOX, tables.INBOX, clock)
    recordings = uploaded_recordings or HttpUploadedRecordings(settings.media_url)
    asked_questions = questions or HttpQuestions(settings.ai_url)
    repair_delay = timedelta(seconds=settings.repair_seconds)
    deletions = DeletionLog(
        database, tables.DELETIONS, SessionDeleted, clock=clock, delay=repair_delay
    )
    deps = Deps(database, clock, deletions, recordings, asked_questions, repair_delay)
    app = create_app(
        "sessions",
        checks={"database": database.check, "broker": transport.check},
        state=AppState(deps, tokens or AccessTokenVerifier.from_settings(settings)),
    )
    for router in PUBLIC_ROUTERS:
        app.include_router(router)
    return Service(
        name="sessions",
        app=app,
        settings=settings,
        transport=transport,
        deps=deps,
        database=database,
        package="coach_sessions",
        subscriptions=subscribe("sessions", deps, SUBSCRIPTIONS),
        workers={
            "stop_waiting_for_recordings": partial(workers.stop_waiting_for_recordings, deps),
            "republish_deletions": deletions.run,
            "repair": partial(workers.publish_stalled_sessions, deps),
        },
        retention_tables=(tables.INBOX, tables.TOMBSTONES),
        on_close=(recordings.close, asked_questions.close),
    )
