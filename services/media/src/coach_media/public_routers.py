"""The routers of the public API of media."""

from coach_media import export_routes, routes

PUBLIC_ROUTERS = (
    routes.router,
    export_routes.router,
)
