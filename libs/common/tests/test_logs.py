"""Log lines as `coach_common.logs` writes them."""

import asyncio
import contextlib
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from coach_common import logs, service

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


@pytest.mark.parametrize("json_lines", [True, False])
async def test_no_log_call_raises_on_a_full_disk(
    stream: io.StringIO, json_lines: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_RESTART_DELAY_SECONDS", 0.0)
    runs = 0

    async def crash_twice() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError("crashed")
        await asyncio.Event().wait()

    # Every write to this device fails with ENOSPC.
    with Path("/dev/full").open("w", buffering=1) as full_disk:
        logs.configure(level="INFO", json=json_lines, stream=full_disk)
        lost_before = logs.LOG_LINES_LOST._value.get()
        log = logs.get_logger(__name__)
        for _ in range(200):
            log.info("job.claimed")
            logs.log_request(**REQUEST)
        logs.flush()
        logging.getLogger("uvicorn.error").warning("line of a library")
        worker = asyncio.create_task(service._run_with_restarts("sessions", "relay", crash_twice))
        async with asyncio.timeout(60):
            while runs < 3:
                await asyncio.sleep(0)
        worker.cancel()
        lost = logs.LOG_LINES_LOST._value.get() - lost_before
        logs.configure(level="INFO", json=json_lines, stream=stream)
        with contextlib.suppress(OSError):
            full_disk.close()
    log.info("disk.freed")

    assert lost >= 400
    assert "disk.freed" in stream.getvalue()
