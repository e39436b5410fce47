"""A gateway in a separate process, in front of upstreams that respond as networks do."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from coach_common.config import Settings
from coach_common.ids import new_id
from coach_common.service import Service, listen, running
from coach_common.testing.fakes import FakeTransport, TokenIssuer
from coach_common.testing.harness import http_client, wait_until

SERVICE_TOKEN = "a token between services"

Respond = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class GatewayProcess:
    """A running gateway process."""

    process: asyncio.subprocess.Process
    url: str
    log: Path
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/ws/transcribe"


@asynccontextmanager
async def _raw_upstream(
    respond: Respond, *, idle_seconds: float | None = None
) -> AsyncIterator[str]:
    """Serve requests with `respond`; yield the URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(idle_seconds):
                    request = await reader.readuntil(b"\r\n\r\n")
                if b"content-length: " in request:
                    length = int(request.partition(b"content-length: ")[2].split(b"\r\n")[0])
                    request += await reader.readexactly(length)
                await respond(request, writer)
        except (asyncio.IncompleteReadError, OSError, TimeoutError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.fixture
async def auth_url(upstreams: Any, issuer: TokenIssuer) -> AsyncIterator[str]:
    listener = listen("127.0.0.1", 0)
    service = Service("auth", upstreams.app("auth", issuer), Settings(), FakeTransport(), deps=None)
    async with running(service, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


OpenProcess = Callable[..., Any]


@pytest.fixture
def open_gateway_process(tmp_path: Path, issuer: TokenIssuer) -> OpenProcess:
    """Return a function that starts a gateway process with settings."""

    @asynccontextmanager
    async def open_process(**settings: str) -> AsyncIterator[GatewayProcess]:
        env = os.environ | {"SERVICE_TOKEN": SERVICE_TOKEN, "ENVIRONMENT": "development"}
        log = tmp_path / "gateway.log"
        with log.open("wb") as lines:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(Path(__file__).with_name("run_gateway.py")),
                stdout=asyncio.subprocess.PIPE,
                stderr=lines,
                env=env | {name.upper(): value for name, value in settings.items()},
            )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(60):
                port = int(await process.stdout.readline())
            gateway = GatewayProcess(
                process, f"http://127.0.0.1:{port}", log, issuer.bearer(new_id())
            )
            async with http_client(base_url=gateway.url) as client:

                async def is_ready() -> bool:
                    return (await client.get("/health/ready")).status_code == 200

                await wait_until(is_ready, description="the gateway")
            yield gateway
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    return open_process


def _ok(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


async def test_response_in_two_pieces_to_a_socket_command_does_not_block_the_gateway(
    open_gateway_process: OpenProcess, auth_url: str
) -> None:
    session_id = str(new_id())

    async def respond(request: bytes, writer: asyncio.StreamWriter) -> None:
        if request.startswith(b"GET /health/live"):
            writer.write(_ok(b"{}"))
            return
        response = _ok(json.dumps({"id": session_id, "transcript": "x" * 100_000}).encode())
        writer.write(response[:1448])
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(response[1448:])

    async with (
        _raw_upstream(respond) as sessions_url,
        open_gateway_process(
            auth_url=auth_url, sessions_url=sessions_url, media_url=auth_url, ai_url=auth_url,
            shutdown_seconds="1",
        ) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=2) as client,
    ):  # fmt: skip
        async with connect(
            gateway.socket_url, additional_headers=gateway.headers, proxy=None
        ) as socket:
            assert json.loads(await socket.recv())["type"] == "auth_success"
            for _ in range(3):
                await socket.send(json.dumps({"type": "session_start", "session_id": session_id}))
                async with asyncio.timeout(5):
                    assert json.loads(await socket.recv())["type"] == "session_started"
            assert (await client.get("/health/live")).status_code == 200
        gateway.process.terminate()
        async with asyncio.timeout(10):
            assert await gateway.process.wait() == 0
        assert b"event_loop.blocked" not in gateway.log.read_bytes()


async def test_body_one_second_after_its_head_is_forwarded(
    open_gateway_process: OpenProcess, auth_url: str
) -> None:
    async def respond(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(_ok(b"{}"))

    async def body() -> AsyncIterator[bytes]:
        await asyncio.sleep(1.5)
        yield b'{"title": "x"}'

    async with (
        _raw_upstream(respond, idle_seconds=1.0) as sessions_url,
        open_gateway_process(
            auth_url=auth_url, sessions_url=sessions_url, media_url=auth_url, ai_url=auth_url
        ) as gateway,
        httpx.AsyncClient(base_url=gateway.url, headers=gateway.headers, timeout=10) as client,
    ):
        assert (await client.get("/sessions")).status_code == 200
        response = await client.post("/sessions", content=body())

    assert response.status_code == 200


async def test_hung_auth_replica_does_not_stop_the_api(
    open_gateway_process: OpenProcess, auth_url: str
) -> None:
    async def hang(request: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async def respond(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(_ok(b"{}"))

    async with (
        _raw_upstream(hang) as hung_url,
        _raw_upstream(respond) as sessions_url,
        open_gateway_process(
            auth_url=f"{hung_url},{auth_url}", sessions_url=sessions_url, media_url=auth_url,
            ai_url=auth_url,
        ) as gateway,
        httpx.AsyncClient(base_url=gateway.url, headers=gateway.headers, timeout=10) as client,
    ):  # fmt: skip
        statuses = set()
        for _ in range(40):
            statuses.add((await client.get("/sessions")).status_code)
            statuses.add((await client.get("/auth/me")).status_code)
            await asyncio.sleep(0.1)

        assert statuses == {200}
        assert b"upstream.ejected" in gateway.log.read_bytes()


async def test_blocked_event_loop_is_logged_with_its_stack(tmp_path: Path) -> None:
    program = (
        "import asyncio, time, sys\n"
        "from coach_common import logs\n"
        "from coach_gateway.event_loop_watchdog import watch_event_loop\n"
        "async def hold_the_loop():\n"
        "    time.sleep(1.5)\n"
        "async def main():\n"
        "    logs.configure(level='INFO', json=True)\n"
        "    task = asyncio.create_task(watch_event_loop())\n"
        "    await asyncio.sleep(0.5)\n"
        "    await hold_the_loop()\n"
        "    await asyncio.sleep(0.5)\n"
        "    task.cancel()\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE
    )
    _, lines = await process.communicate()

    events = [json.loads(line) for line in lines.splitlines()]
    (blocked,) = [event for event in events if event["event"] == "event_loop.blocked"]
    assert "hold_the_loop" in blocked["stack"]
