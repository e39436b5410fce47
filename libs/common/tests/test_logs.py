"""Log lines as `coach_common.logs` writes them."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from coach_common import logs

REQUEST = {
    "service": "sessions", "method": "GET", "route": "/sessions", "status": 200,
    "ms": 1.25, "request_id": "abcdefgh",
}  # fmt: skip


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A stream that receives the log lines; the former configuration is restored."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    structlog_configuration = structlog.get_config()
    yield io.StringIO()
    logs.configure(level="ERROR", json=True, stream=io.StringIO())
    root.handlers[:], root.level = handlers, level
    structlog.configure(**structlog_configuration)


async def test_request_lines_are_buffered_and_written_as_json(stream: io.StringIO) -> None:
    logs.configure(level="INFO", json=True, stream=stream)

    for _ in range(3):
        logs.log_request(**REQUEST)
    before = stream.getvalue()
    logs.flush()

    assert before == ""
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(lines) == 3
    assert lines[0] == REQUEST | {
        "ms": 1.2, "event": "request", "level": "info", "timestamp": lines[0]["timestamp"],
    }  # fmt: skip


async def test_request_lines_are_omitted_above_info(stream: io.StringIO) -> None:
    logs.configure(level="WARNING", json=True, stream=stream)

    logs.log_request(**REQUEST)
    logs.flush()

    assert stream.getvalue() == ""
