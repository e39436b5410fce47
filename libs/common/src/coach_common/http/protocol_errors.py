"""Errors that end a client connection before a request reaches the application."""

import json
from http import HTTPStatus

from coach_common import logs, telemetry
from coach_common.http import problems
from coach_common.http.exchange import STATUS_LINES, encode_headers
from coach_common.http.limits import HttpOptions

_ERRORS = {
    "bad_http": (400, "The request is not valid HTTP/1.1."),
    "internal": (500, "Something went wrong on our side."),
    "slow_body": (400, "The request body did not arrive in time."),
    "slow_request": (408, "The request took too long to arrive."),
    "uri_too_long": (414, "The URL is too long."),
    "headers_too_large": (431, "The headers are too large."),
    "too_many_connections": (503, "Too many connections. Please try again."),
}


def encode_error(error: str, options: HttpOptions) -> bytes:
    """Return the response for an error that closes the connection. Counts and logs the error."""
    status, sentence = _ERRORS[error]
    request_id = telemetry.random_hex(8)
    telemetry.current_request_id.set(request_id)
    body = json.dumps(problems.problem_body(status, sentence, code=error)).encode()
    headers = [
        (b"content-type", problems.MEDIA_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        *([(b"retry-after", b"2")] if status == HTTPStatus.SERVICE_UNAVAILABLE else []),
        *options.headers,
        (b"x-request-id", request_id.encode()),
    ]
    telemetry.record_request(options.service, "any", "unmatched", status, 0.0)
    logs.log_request(
        service=options.service, method="any", route="unmatched", status=status, ms=0.0,
        request_id=request_id,
    )  # fmt: skip
    return b"%b%b\r\n%b" % (STATUS_LINES[status], encode_headers(headers), body)
