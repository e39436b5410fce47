"""Errors as RFC 9457 problem details, and the table of HTTP status codes."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from coach_common import errors, logs, telemetry
from coach_common.validation import clean_message

log = logs.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"

_NO_TOKEN_CODES = frozenset({"token_missing", "wrong_credentials"})

HTTP_STATUS: Mapping[type[errors.CoachError], int] = {
    errors.InvalidInput: 422,
    errors.BadRequest: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.TooManyRequests: 429,
    errors.Unavailable: 503,
}


def http_status(error: errors.CoachError) -> int:
    """Return the HTTP status of the nearest class in the table; 500 for a plain CoachError."""
    for kind in type(error).__mro__:
        if kind in HTTP_STATUS:
            return HTTP_STATUS[kind]
    return 500


def http_headers(error: errors.CoachError) -> dict[str, str]:
    """Return the response headers for an error."""
    if isinstance(error, errors.Unauthenticated):
        return {"www-authenticate": _bearer_challenge(error)}
    if isinstance(error, errors.TooManyRequests | errors.Unavailable):
        return {"retry-after": str(error.retry_after_seconds)}
    return {}


def _bearer_challenge(error: errors.Unauthenticated) -> str:
    """Return the challenge of RFC 6750 §3: no error code if the request carried no token."""
    return "Bearer" if error.code in _NO_TOKEN_CODES else 'Bearer error="invalid_token"'


def problem_body(
    status: int, detail: str, *, code: str, problems: Sequence[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Return a problem document. `detail` is a sentence for the user."""
    body: dict[str, Any] = {
        "type": f"urn:genai-coach:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": telemetry.current_request_id.get(),
    }
    if problems is not None:
        body["errors"] = list(problems)
    return body


def install_error_handlers(app: FastAPI) -> None:
    """Return a problem document for every error of `app`."""
    app.add_exception_handler(errors.CoachError, _coach_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _validation_error)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]


def _problem_response(
    status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> JSONResponse:
    return JSONResponse(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


async def _coach_error(_: Request, error: errors.CoachError) -> JSONResponse:
    status = http_status(error)
    if status == 500:
        log.error("request.failed", reason=str(error), exc_info=error)
        return _problem_response(
            500, problem_body(500, "Something went wrong on our side.", code="internal")
        )
    return _problem_response(
        status, problem_body(status, str(error), code=error.code), http_headers(error)
    )


async def _validation_error(_: Request, error: RequestValidationError) -> JSONResponse:
    problems = [
        {"loc": list(item["loc"]), "msg": item["msg"], "type": item["type"]}
        for item in error.errors()
    ]
    return _problem_response(
        422, problem_body(422, _summarize(problems), code="invalid", problems=problems)
    )


async def _http_error(_: Request, error: HTTPException) -> JSONResponse:
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    detail = error.detail if isinstance(error.detail, str) else HTTPStatus(error.status_code).phrase
    return _problem_response(
        error.status_code, problem_body(error.status_code, detail, code=code), error.headers
    )


def _summarize(problems: Sequence[Mapping[str, Any]]) -> str:
    """Return one sentence that names up to five invalid fields and what is wrong with them."""
    parts = []
    for problem in problems[:5]:
        path = [str(part) for part in problem["loc"] if part not in ("body", "query", "path")]
        message = clean_message(str(problem["msg"]))
        parts.append(f"{'.'.join(path)}: {message}" if path else message)
    return "; ".join(parts) or "The request is not valid."
