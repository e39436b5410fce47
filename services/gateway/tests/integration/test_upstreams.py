"""Upstream replicas that work, fail, hang, stop and restart; response framings."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from coach_common.config import Settings
from coach_common.ids import new_id
from coach_common.service import Service, listen, running
from coach_common.testing.fakes import FakeTransport, TokenIssuer
from coach_common.testing.harness import wait_until
from coach_gateway.app import build
from coach_gateway.config import GatewaySettings

SERVICE_TOKEN = "a token between services"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}"


class StubReplica:
    """A server with a configurable response."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.response: bytes | None = OK
        """None: close the connection without a response."""
        self.release = asyncio.Event()
        self.release.set()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._open:
                writer.close()
            self._server = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                await self.release.wait()
                if self.response is None:
                    return
                writer.write(self.response)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()


@pytest.fixture
async def replicas() -> AsyncIterator[list[StubReplica]]:
    found = [StubReplica(), StubReplica()]
    for one in found:
        await one.start()
    yield found
    for one in found:
        one.release.set()
        await one.stop()


OpenGateway = Callable[..., Any]


@pytest.fixture
def open_gateway(upstreams: Any, issuer: TokenIssuer) -> OpenGateway:
    """Return a function that opens a gateway in front of replicas of sessions."""

    @asynccontextmanager
    async def open_gateway_for(
        *sessions: StubReplica, **settings: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        async with AsyncExitStack() as stack:
            auth, listener = listen("127.0.0.1", 0), listen("127.0.0.1", 0)
            auth_service = Service(
                "auth", upstreams.app("auth", issuer), Settings(), FakeTransport(), deps=None
            )
            await stack.enter_async_context(running(auth_service, auth))
            auth_url = f"http://127.0.0.1:{auth.getsockname()[1]}"
            service = build(
                GatewaySettings(
                    auth_url=auth_url,
                    sessions_url=",".join(one.url for one in sessions),
                    media_url=auth_url,
                    ai_url=auth_url,
                    service_token=SERVICE_TOKEN,
                    environment="development",
                    **settings,
                ),
                FakeTransport(),
            )
            await stack.enter_async_context(running(service, listener))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            headers = issuer.bearer(new_id())
            client = httpx.AsyncClient(base_url=url, headers=headers, timeout=20)
            await stack.enter_async_context(client)

            async def has_revocations() -> bool:
                return (await client.get("/auth/me")).status_code == 200

            await wait_until(has_revocations, description="the gateway", timeout_seconds=10)
            yield client

    return open_gateway_for


async def test_requests_are_distributed_over_replicas(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    one, other = replicas
    one.release.clear()
    other.release.clear()
    async with open_gateway(one, other) as client:
        calls = [asyncio.create_task(client.get("/sessions")) for _ in range(8)]

        async def all_arrived() -> bool:
            return len(one.requests) + len(other.requests) == 8

        await wait_until(all_arrived, description="eight requests", timeout_seconds=10)
        one.release.set()
        other.release.set()
        responses = await asyncio.gather(*calls)

    assert [answer.status_code for answer in responses] == [200] * 8
    assert (len(one.requests), len(other.requests)) == (4, 4)


async def test_stopped_replica_is_ejected_and_returns(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    one, other = replicas
    async with open_gateway(one, other) as client:
        assert (await client.get("/sessions")).status_code == 200
        await one.stop()
        during = [(await client.get("/sessions")).status_code for _ in range(20)]
        one.requests.clear()
        await one.start()

        async def has_returned() -> bool:
            assert (await client.get("/sessions")).status_code == 200
            return bool(one.requests)

        await wait_until(has_returned, description="the returning replica", timeout_seconds=20)

    assert during == [200] * 20


async def test_broken_connection_retries_get_but_not_post(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    one, _ = replicas
    one.response = None
    async with open_gateway(one) as client:
        read = await client.get("/sessions")
        asked_to_read = len(one.requests)
        one.requests.clear()
        written = await client.post("/sessions", json={"title": "x"})

    assert (read.status_code, written.status_code) == (503, 503)
    assert read.headers["retry-after"]
    assert (asked_to_read, len(one.requests)) == (2, 1)


async def test_get_dropped_by_one_replica_is_retried_on_the_other(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    one, other = replicas
    async with open_gateway(one, other) as client:
        for _ in range(2):
            assert (await client.get("/sessions")).status_code == 200
        one.response = None
        statuses = [(await client.get("/sessions")).status_code for _ in range(10)]

    assert statuses == [200] * 10


async def test_full_upstream_returns_503_and_others_work(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    one, _ = replicas
    one.release.clear()
    async with open_gateway(one, upstream_max_in_flight=3) as client:
        calls = [asyncio.create_task(client.get("/sessions")) for _ in range(3)]

        async def three_wait() -> bool:
            return len(one.requests) == 3

        await wait_until(three_wait, description="three requests", timeout_seconds=10)
        refused = await client.get("/sessions")
        elsewhere = await client.get("/auth/me")
        one.release.set()
        responses = await asyncio.gather(*calls)

    assert refused.status_code == 503 and refused.headers["retry-after"]
    assert elsewhere.status_code == 200
    assert [answer.status_code for answer in responses] == [200] * 3


async def test_silent_upstream_times_out_with_503(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    one, _ = replicas
    async with open_gateway(one, upstream_read_timeout_seconds=0.3) as client:
        assert (await client.get("/sessions")).status_code == 200
        one.release.clear()
        response = await client.get("/sessions")

    assert response.status_code == 503
    assert response.json()["detail"] == "The service is temporarily unavailable. Please try again."


@pytest.mark.parametrize(
    ("head", "body", "expected"),
    [
        (b"content-length: 100000", b"x" * 100_000, b"x" * 100_000),
        (b"transfer-encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"content-length: 5", b"hello", b"hello"),
        (b"content-length: 0", b"", b""),
    ],
)
async def test_response_body_is_complete_for_every_framing(
    open_gateway: OpenGateway,
    replicas: list[StubReplica],
    head: bytes,
    body: bytes,
    expected: bytes,
) -> None:
    one, _ = replicas
    one.response = b"HTTP/1.1 200 OK\r\nx-own: 1\r\n" + head + b"\r\n\r\n" + body
    async with open_gateway(one) as client:
        responses = [await client.get("/sessions") for _ in range(3)]

    assert [answer.content for answer in responses] == [expected] * 3
    assert all(answer.headers["x-own"] == "1" for answer in responses)


async def test_response_without_length_ends_with_the_connection(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    one, _ = replicas
    one.response = b"HTTP/1.1 200 OK\r\n\r\nuntil the end"
    async with open_gateway(one) as client:
        call = asyncio.create_task(client.get("/sessions"))
        await wait_until(_has_received(one, 1), description="the request", timeout_seconds=10)
        await one.stop()

        assert (await call).content == b"until the end"


def _has_received(replica: StubReplica, count: int) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        return len(replica.requests) >= count

    return is_so


async def test_truncated_response_closes_the_client_connection(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    one, _ = replicas
    async with open_gateway(one) as client:
        assert (await client.get("/sessions")).status_code == 200
        one.response = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nonly this"
        call = asyncio.create_task(client.get("/sessions"))
        await wait_until(_has_received(one, 2), description="the request", timeout_seconds=10)
        await one.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            await call


async def test_retries_are_counted_per_upstream(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    def count() -> float:
        name = "coach_gateway_upstream_retries_total"
        return REGISTRY.get_sample_value(name, {"upstream": "sessions"}) or 0.0

    one, _ = replicas
    one.response = None
    before = count()
    async with open_gateway(one) as client:
        await client.get("/sessions")

    assert count() == before + 1
