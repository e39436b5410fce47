"""Structured logs: a dotted event and fields, JSON in production, readable in development.

Never a token, a password, an e-mail, a transcript or a presigned query.
"""

import asyncio
import atexit
import logging
import re
import sys
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

_lines: TextIO | None = None
"""Where request lines go as JSON; None: to `structlog`, for people to read."""

_waiting: list[tuple[int, str, str, str, int, float, str]] = []
"""Answered requests that are not written yet: when, in ns, and what `request` was told."""
_WAIT_SECONDS = 0.05
_WAITING_AT_MOST = 64

_QUERY = re.compile(r"(?<=[\w/])\?[^\s\"']+")


def get(name: str) -> FilteringBoundLogger:
    """Return the logger of a module; configured or not, it can be made at import."""
    return structlog.get_logger(module=name)  # type: ignore[no-any-return]


def configure(*, level: str, json: bool, stream: TextIO = sys.stderr) -> None:
    """Send our lines and the libraries' to `stream`, one a line.

    Ours go there straight: by way of `logging` a line costs three times as much.
    """
    ours: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_queries,
    ]
    rendered: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if json
        else [
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(),
                pad_event_to=28,
                # The fancy one prints local variables: tokens and transcripts among them.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    )
    structlog.configure(
        processors=[*ours, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *ours],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    global _lines
    flush()
    _lines = stream if json and logging.getLevelName(level) <= logging.INFO else None
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Libraries that print URLs, payloads or statements at INFO.
    for noisy in (
        "httpx",
        "httpx2",
        "httpcore",
        "botocore",
        "boto3",
        "aio_pika",
        "aiormq",
        "alembic",
        "asyncmy",
    ):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def request(
    *, service: str, method: str, route: str, status: int, ms: float, request_id: str
) -> None:
    """Write the line of an answered request.

    One is written for every request, so those of 50 ms are written at once, and put together by
    hand, at a tenth of what they cost by way of structlog's processors. Nothing in them needs
    escaping: methods are the parser's, routes are templates, request ids are letters, digits, dots
    and dashes.
    """
    if _lines is None:
        structlog.get_logger().info(
            "request", service=service, method=method, route=route, status=status,
            ms=round(ms, 1), request_id=request_id,
        )  # fmt: skip
        return
    _waiting.append((time.time_ns(), service, method, route, status, ms, request_id))
    if len(_waiting) == 1:
        asyncio.get_running_loop().call_later(_WAIT_SECONDS, flush)
    elif len(_waiting) >= _WAITING_AT_MOST:
        flush()


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def flush() -> None:
    """Write the request lines that wait."""
    if _lines is not None and _waiting:
        _lines.write("".join([_line(*one) for one in _waiting]))
    _waiting.clear()


def _line(
    at_ns: int, service: str, method: str, route: str, status: int, ms: float, request_id: str
) -> str:
    seconds, rest = divmod(at_ns, 1_000_000_000)
    return (
        f'{{"service": "{service}", "method": "{method}", "route": "{route}", "status": {status},'
        f' "ms": {ms:.1f}, "request_id": "{request_id}", "event": "request", "level": "info",'
        f' "timestamp": "{_second(seconds)}.{rest // 1000:06d}Z"}}\n'
    )


atexit.register(flush)


def _without_queries(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Cut query strings: refused URLs in uvicorn's lines may carry tokens or signatures."""
    text = event.get("event")
    if isinstance(text, str) and "?" in text:
        event["event"] = _QUERY.sub("?…", text)
    return event
