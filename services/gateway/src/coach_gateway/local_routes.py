"""Routes that the gateway serves itself: `/`, health, metrics, docs."""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse

from coach_common.http import problems
from coach_common.http.app import VERSION, HealthCheck, health_router
from coach_gateway.api_docs import render
from coach_gateway.config import GatewaySettings


def create_local_app(settings: GatewaySettings, checks: Mapping[str, HealthCheck]) -> FastAPI:
    """Return the app that serves the local routes."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    problems.install_error_handlers(app)
    has_metrics = settings.metrics_port is None
    app.include_router(health_router("gateway", checks, has_metrics=has_metrics))

    @app.get("/")
    async def root() -> dict[str, str]:
        return {
            "name": "GenAI Coach",
            "version": VERSION,
            "status": "running",
            "environment": settings.environment,
        }

    if settings.has_docs:
        document = public_document()
        page = render(document)

        @app.get("/openapi.json")
        async def openapi() -> Response:
            return Response(json.dumps(document), media_type="application/json")

        @app.get("/docs")
        async def docs() -> HTMLResponse:
            policy = "default-src 'none'; style-src 'unsafe-inline'"
            return HTMLResponse(page, headers={"content-security-policy": policy})

    return app


def public_document() -> dict[str, Any]:
    """Return the merged OpenAPI document of the public API."""
    text = (files("coach_gateway") / "openapi.json").read_text()
    document: dict[str, Any] = json.loads(text)
    return document
