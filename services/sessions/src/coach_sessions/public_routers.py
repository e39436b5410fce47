"""The routers of the public API of sessions."""

from coach_sessions import routes

PUBLIC_ROUTERS = (
    routes.router,
    routes.progress_router,
)
