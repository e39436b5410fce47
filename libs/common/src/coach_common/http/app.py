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

from coach_common import logs, telemetry
from coach_common.errors import CoachError, Contended
from coach_common.http import problems

log = logs.get(__name__)

Check = Callable[[], Awaitable[None]]
"""Returns where a needed part answers; raises CoachError with a sentence where it does not."""

VERSION = "0.1.0"

_CHECK_SECONDS = 3.0


def create_app(name: str, *, checks: Mapping[str, Check]) -> FastAPI:
    """Return a FastAPI app with everything a service's HTTP side has in common."""
    app = FastAPI(
        title=f"GenAI Coach: {name}",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # 422 bodies are ours; FastAPI's would describe another shape.
        responses={422: {"description": "Malformed input, as problem details"}},
    )
    problems.install(app)
    app.include_router(health_router(name, checks))
    app.add_middleware(RequestContext, service=name)
    return app


def health_router(name: str, checks: Mapping[str, Check]) -> APIRouter:
    """Return `/health*` and `/metrics`; readiness asks every check and names what is missing."""
    router = APIRouter(include_in_schema=False)

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "ok", "service": name}

    @router.get("/health")
    @router.get("/health/ready")
    async def ready() -> Response:
        found = await asyncio.gather(*(_ask(check) for check in checks.values()))
        parts = dict(zip(checks, found, strict=True))
        missing = {part: reason for part, reason in parts.items() if reason is not None}
        if missing:
            body = problems.body_of(503, f"not ready: {', '.join(missing)}", code="not_ready")
            return JSONResponse(
                body | {"service": name, "missing": missing},
                503,
                headers={"retry-after": "2"},
                media_type=problems.MEDIA_TYPE,
            )
        return JSONResponse({"status": "ok", "service": name, "checks": dict.fromkeys(parts, "ok")})

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


class RetryingRoute(APIRoute):
    """Runs a route once more where its transaction lost against another one."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        handle = super().get_route_handler()

        async def handle_twice(request: Request) -> Any:
            try:
                return await handle(request)
            except Contended:
                return await handle(request)

        return handle_twice


class RequestContext:
    """Pure ASGI: gives a request its id and trace, logs and counts it, catches what crashed."""

    def __init__(self, app: ASGIApp, service: str) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = telemetry.fit_request_id(headers.get(b"x-request-id", b""))
        telemetry.request_id.set(request_id)
        telemetry.trace.set(
            telemetry.continue_trace(headers.get(b"traceparent", b"").decode("latin-1"))
        )
        began = time.perf_counter()
        status = 500
        has_started = False

        async def answer(message: Message) -> None:
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
                await self._app(scope, receive, answer)
            except Exception:
                log.exception("request.crashed")
                if not has_started:
                    body = problems.body_of(
                        500, "Something went wrong on our side.", code="internal"
                    )
                    await JSONResponse(body, 500, media_type=problems.MEDIA_TYPE)(
                        scope, receive, answer
                    )
            finally:
                self._count(scope, status, time.perf_counter() - began, request_id)

    def _count(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        method = scope["method"]
        route = getattr(scope.get("route"), "path", "unmatched")
        telemetry.count_request(self._service, method, route, status, seconds)
        if not route.startswith(("/health", "/metrics", "/internal")):
            logs.request(
                service=self._service, method=method, route=route, status=status,
                ms=seconds * 1000, request_id=request_id,
            )  # fmt: skip


async def _ask(check: Check) -> str | None:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except TimeoutError:
        return "no answer in time"
    except CoachError as error:
        return str(error)
    return None
