"""Composition root of the media service."""

from datetime import timedelta
from functools import partial

from coach_common.clock import Clock, utc_now
from coach_common.db.database import Database
from coach_common.http.app import create_app
from coach_common.http.dependencies import AppState
from coach_common.messaging.subscriptions import Transport, subscribe
from coach_common.service import Service
from coach_common.storage import ObjectStore
from coach_common.tokens import AccessTokenVerifier
from coach_media import routes, tables, workers
from coach_media.adapters.sessions_http import HttpSessionOwnership
from coach_media.config import MediaSettings
from coach_media.consumers import SUBSCRIPTIONS
from coach_media.deps import Deps, SessionOwnership, UploadLimits
from coach_media.public_routers import PUBLIC_ROUTERS


def build(
    settings: MediaSettings,
    transport: Transport,
    *,
    clock: Clock = utc_now,
    tokens: AccessTokenVerifier | None = None,
    sessions: SessionOwnership | None = None,
) -> Service[Deps]:
    """Build the service and its dependencies without starting anything."""
    database = Database.from_settings(settings, "media", tables.OUTBOX, tables.INBOX, clock)
    object_store = ObjectStore(settings)
    ownership = sessions or HttpSessionOwnership(settings.sessions_url)
    limits = UploadLimits(
        settings.max_audio_bytes,
        settings.max_video_bytes,
        settings.max_pending_uploads,
        timedelta(seconds=settings.sweep_seconds),
    )
    deps = Deps(
        database,
        clock,
        object_store,
        ownership,
        limits,
        timedelta(seconds=settings.repair_seconds),
        settings.audio_retention,
        settings.s3_endpoint_url if settings.presign_host_from_request else None,
    )
    checks = {"database": database.check, "broker": transport.check, "store": object_store.check}
    state = AppState(deps, tokens or AccessTokenVerifier.from_settings(settings))
    app = create_app("media", checks=checks, state=state)
    for router in PUBLIC_ROUTERS:
        app.include_router(router)
    app.include_router(routes.internal_router)
    return Service(
        name="media",
        app=app,
        settings=settings,
        transport=transport,
        deps=deps,
        database=database,
        package="coach_media",
        subscriptions=subscribe("media", deps, SUBSCRIPTIONS),
        workers={
            "sweep": partial(workers.sweep_unconfirmed_uploads, deps),
            "repair": partial(workers.republish_untranscribed_uploads, deps),
            "exports": partial(workers.maintain_exports, deps),
            "retention": partial(workers.delete_due_audio, deps),
            "object_deletions": partial(workers.delete_objects, deps),
        },
        retention_tables=(tables.INBOX, tables.TOMBSTONES),
        on_close=(ownership.close, object_store.close),
    )
