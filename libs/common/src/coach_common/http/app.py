"""The HTTP app of a service: problem details, request ids, logs, health and metrics."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coach_common import logs, telemetry, tracing
from coach_common.errors import CoachError, TransactionConflict
from coach_common.http import problems
from coach_common.http.dependencies import AppState, set_app_state

log = logs.get_logger(__name__)

HealthCheck = Callable[[], Awaitable[None]]
"""Checks one dependency. Raises CoachError with a sentence if it is unavailable."""

VERSION = "0.1.0"

_CHECK_SECONDS = 3.0


def create_app(
    name: str, *, checks: Mapping[str, HealthCheck], state: AppState | None = None
) -> FastAPI:
    """Return a FastAPI app with what all services have in common.

    Without `state` the app can describe its routes but not serve them.
    """
    app = FastAPI(
        title=f"GenAI Coach: {name}",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        # FastAPI would describe its own body for 422, but the body is a problem document.
        responses={422: {"description": "Validation failed, as problem details"}},
    )
    if state is not None:
        set_app_state(app, state)
    problems.install_error_handlers(app)
    app.include_router(health_router(name, checks))
    app.add_middleware(RequestContextMiddleware, service=name)
    return app


def health_router(
    name: str, checks: Mapping[str, HealthCheck], *, has_metrics: bool = True
) -> APIRouter:
    """Return `/health*` and `/metrics`. Readiness runs all checks and names the failed ones."""
    router = APIRouter(include_in_schema=False)

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "ok", "service": name}

    @router.get("/health")
    @router.get("/health/ready")
    async def ready() -> Response:
        reasons = await asyncio.gather(*(_run_check(check) for check in checks.values()))
        results = dict(zip(checks, reasons, strict=True))
        missing = {part: reason for part, reason in results.items() if reason is not None}
        if missing:
            body = problems.problem_body(503, f"not ready: {', '.join(missing)}", code="not_ready")
            return JSONResponse(
                body | {"service": name, "missing": missing},
                503,
                headers={"retry-after": "2"},
                media_type=problems.MEDIA_TYPE,
            )
        return JSONResponse(
            {"status": "ok", "service": name, "checks": dict.fromkeys(results, "ok")}
        )

    if has_metrics:

        @router.get("/metrics")
        async def metrics() -> Response:
            return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


class RetryOnConflictRoute(APIRoute):
    """Repeats a route once if its transaction lost against another one."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        handle = super().get_route_handler()

        async def handle_with_retry(request: Request) -> Any:
            try:
                return await handle(request)
            except TransactionConflict:
                return await handle(request)

        return handle_with_retry


class RequestContextMiddleware:
    """ASGI middleware: request id, trace, log, metrics, and the response to an exception."""

    def __init__(self, app: ASGIApp, service: str) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = telemetry.sanitize_request_id(headers.get(b"x-request-id", b""))
        telemetry.current_request_id.set(request_id)
        span = tracing.start_span(
            self._service,
            scope["method"],
            tracing.Kind.SERVER,
            parent=headers.get(b"traceparent", b"").decode("latin-1"),
        )
        telemetry.current_traceparent.set(span.traceparent)
        started_at = time.perf_counter()
        status = 500
        has_started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, has_started
            if message["type"] == "http.response.start":
                status, has_started = message["status"], True
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    (b"cache-control", b"no-store"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id, service=self._service):
            try:
                await self._app(scope, receive, send_with_headers)
            except Exception:
                log.exception("request.unhandled_exception")
                if not has_started:
                    body = problems.problem_body(
                        500, "Something went wrong on our side.", code="internal"
                    )
                    await JSONResponse(body, 500, media_type=problems.MEDIA_TYPE)(
                        scope, receive, send_with_headers
                    )
            finally:
                self._record(scope, status, time.perf_counter() - started_at, request_id)
                if tracing.is_exporting():
                    route = getattr(scope.get("route"), "path", "unmatched")
                    tracing.end_request(span, scope["method"], route, status)

    def _record(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        method = scope["method"]
        route = getattr(scope.get("route"), "path", "unmatched")
        telemetry.record_request(self._service, method, route, status, seconds)
        if not route.startswith(("/health", "/metrics", "/internal")):
            logs.log_request(
                service=self._service, method=method, route=route, status=status,
                ms=seconds * 1000, request_id=request_id,
            )  # fmt: skip


def _operation_id(route: APIRoute) -> str:
    """Return the route's function name in camelCase: `createSession`."""
    first, *others = route.name.split("_")
    return first + "".join(word.capitalize() for word in others)


async def _run_check(check: HealthCheck) -> str | None:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except TimeoutError:
        return "health check timed out"
    except CoachError as error:
        return str(error)
    return None
