"""The routers of the public API of auth."""

from coach_auth import consent_routes, receipt_routes, routes

PUBLIC_ROUTERS = (
    routes.router,
    receipt_routes.router,
    consent_routes.router,
)
