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
        self.is_hung = False
        """Whether nothing is answered, health checks neither."""
        self.reads_while_hung = True
        self.idle_seconds: float | None = None
        """After this time an idle connection is closed."""
        self.aborted = 0
        """How many connections the gateway closed while a request was in progress."""
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
                async with asyncio.timeout(self.idle_seconds):
                    request = await reader.readuntil(b"\r\n\r\n")
                if self.is_hung and not self.reads_while_hung:
                    await asyncio.Event().wait()
                if self.is_hung:
                    await reader.read()
                if request.startswith(b"GET /health/live"):
                    writer.write(OK)
                    continue
                if b"content-length: " in request:
                    length = int(request.partition(b"content-length: ")[2].split(b"\r\n")[0])
                    request += await reader.readexactly(length)
                self.requests.append(request)
                await self._wait_for_release(reader)
                if self.response is None:
                    return
                writer.write(self.response)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError, TimeoutError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _wait_for_release(self, reader: asyncio.StreamReader) -> None:
        if self.release.is_set():
            return
        released = asyncio.ensure_future(self.release.wait())
        closed = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({released, closed}, return_when=asyncio.FIRST_COMPLETED)
            if closed.done() and not released.done():
                self.aborted += 1
                raise ConnectionError
        finally:
            released.cancel()
            closed.cancel()
            await asyncio.wait({released, closed})


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
            defaults: dict[str, Any] = {
                "auth_url": auth_url,
                "sessions_url": ",".join(one.url for one in sessions),
                "media_url": auth_url,
                "ai_url": auth_url,
                "service_token": SERVICE_TOKEN,
                "environment": "development",
            }
            service = build(GatewaySettings(**(defaults | settings)), FakeTransport())
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

        await wait_until(has_returned, description="the returning replica")

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


def _sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"coach_gateway_{name}", labels) or 0.0


def _in_flight() -> float:
    return _sample("upstream_in_flight", upstream="sessions")


async def _open_request(client: httpx.AsyncClient, request: bytes) -> asyncio.StreamWriter:
    """Send the first bytes of a request with the token of `client`, and keep the connection."""
    _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    token = client.headers["authorization"].encode()
    line, _, rest = request.partition(b"\r\n")
    writer.write(b"%b\r\nHost: x\r\nAuthorization: %b\r\n%b" % (line, token, rest))
    await writer.drain()
    return writer


async def test_unresolved_upstream_name_returns_503_to_every_request(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    async with open_gateway(replicas[0], ai_url="http://no-such-host.invalid:1") as client:
        responses = await asyncio.gather(*(client.get("/quality") for _ in range(20)))

    assert [response.status_code for response in responses] == [503] * 20
    assert all(response.headers["retry-after"] for response in responses)


async def test_hung_replica_is_ejected_and_its_reads_move(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    one, other = replicas
    async with open_gateway(one, other) as client:
        for _ in range(4):
            assert (await client.get("/sessions")).status_code == 200
        one.is_hung = True
        async with asyncio.timeout(15):
            held = await asyncio.gather(*(client.get("/sessions") for _ in range(10)))
        async with asyncio.timeout(2):
            later = [await client.get("/sessions") for _ in range(10)]

    assert {response.status_code for response in (*held, *later)} == {200}


async def test_timeout_is_not_retried(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    one, other = replicas
    async with open_gateway(one, other, upstream_read_timeout_seconds=0.3) as client:
        one.release.clear()
        other.release.clear()
        response = await client.get("/sessions")

    assert response.status_code == 503
    assert len(one.requests) + len(other.requests) == 1


async def test_upstream_that_does_not_read_times_out(
    open_gateway: OpenGateway, replicas: list[StubReplica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coach_gateway.upstream_connection.WRITE_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr("coach_gateway.json_depth.JsonDepthCounter.feed", lambda *_: None)
    one, _ = replicas
    size = 32 * 1024 * 1024  # more than the buffers of both sockets
    async with open_gateway(one, max_body_bytes=size, max_buffered_body_bytes=2 * size) as client:
        one.is_hung = True
        one.reads_while_hung = False
        response = await client.post("/sessions", content=bytes(size))

    assert response.status_code == 503
    assert _sample("upstream_errors_total", upstream="sessions", why="WriteTimeout") >= 1


async def test_refused_connection_to_the_only_replica_is_tried_once(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    async with open_gateway(replicas[0]) as client:
        await replicas[0].stop()
        before = _sample("upstream_errors_total", upstream="sessions", why="ConnectFailed")
        ejections = _sample("upstream_ejections_total", upstream="sessions")
        response = await client.get("/sessions")

    assert response.status_code == 503
    after = _sample("upstream_errors_total", upstream="sessions", why="ConnectFailed")
    assert after == before + 1
    assert _sample("upstream_ejections_total", upstream="sessions") == ejections


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_disconnected_client_ends_the_upstream_request_and_is_no_failure(
    open_gateway: OpenGateway, replicas: list[StubReplica], method: bytes
) -> None:
    one, _ = replicas

    def failures() -> float:
        reasons = ("ConnectionClosed", "ResponseTimeout", "ReadTimeout", "InvalidResponse")
        return sum(
            _sample("upstream_errors_total", upstream="sessions", why=reason) for reason in reasons
        )

    async with open_gateway(one) as client:
        one.release.clear()
        before = failures()
        for _ in range(5):
            writer = await _open_request(
                client, method + b" /sessions HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
            )
            expected = len(one.requests) + 1
            await wait_until(_has_received(one, expected), description="the request")
            writer.close()

        async def is_aborted() -> bool:
            return one.aborted == 5 and _in_flight() == 0

        await wait_until(is_aborted, description="the aborted requests", timeout_seconds=5)
        one.release.set()

        assert (await client.get("/sessions")).status_code == 200
        assert failures() == before


async def test_slow_bodies_hold_no_upstream_slot(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    one, _ = replicas
    async with open_gateway(one, upstream_max_in_flight=3) as client:
        writers = [
            await _open_request(client, b"POST /sessions HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
            for _ in range(10)
        ]
        response = await client.get("/sessions")
        for writer in writers:
            writer.close()

    assert response.status_code == 200
    assert len(one.requests) == 1


async def test_body_after_the_upstream_closed_its_idle_connection_is_forwarded(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    one, _ = replicas
    one.idle_seconds = 0.5
    async with open_gateway(one) as client:
        assert (await client.get("/sessions")).status_code == 200

        async def body() -> AsyncIterator[bytes]:
            await asyncio.sleep(1.0)
            yield b'{"title": "x"}'

        response = await client.post("/sessions", content=body())

    assert response.status_code == 200
    assert one.requests[1].endswith(b'{"title": "x"}')


async def test_idle_connection_with_data_is_not_used(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    one, _ = replicas
    async with open_gateway(one) as client:
        one.response = OK + OK.replace(b"{}", b"[]")  # the second one answers nothing
        for _ in range(3):
            response = await client.get("/sessions")
            assert response.content == b"{}"


async def test_requests_of_one_user_in_flight_are_limited(
    open_gateway: OpenGateway, replicas: list[StubReplica], issuer: TokenIssuer
) -> None:
    one, _ = replicas
    one.release.clear()
    async with open_gateway(one, max_in_flight_per_client=2) as client:
        calls = [asyncio.create_task(client.get("/sessions")) for _ in range(2)]
        await wait_until(_has_received(one, 2), description="two requests")
        rejected = await client.get("/sessions")
        other_user = asyncio.create_task(client.get("/sessions", headers=issuer.bearer(new_id())))
        await wait_until(_has_received(one, 3), description="another user's request")
        one.release.set()
        responses = await asyncio.gather(*calls, other_user)

    assert (rejected.status_code, rejected.json()["code"]) == (429, "too_many_in_flight")
    assert rejected.headers["retry-after"] == "1"
    assert [response.status_code for response in responses] == [200] * 3


async def test_own_calls_have_slots_beside_those_of_clients(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    one, _ = replicas
    async with open_gateway(one, upstream_max_in_flight=1) as client:
        one.release.clear()
        call = asyncio.create_task(client.get("/sessions"))
        await wait_until(_has_received(one, 1), description="the request")
        full = await client.get("/sessions")
        ready = await client.get("/health/ready")
        one.release.set()
        await call

    assert full.status_code == 503
    assert ready.status_code == 200


async def test_rate_limited_request_is_counted_once(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    async with open_gateway(replicas[0], requests_per_minute=20) as client:
        statuses = [(await client.get("/sessions")).status_code for _ in range(30)]
        before = _sample("rate_limited_total", kind="user")
        limited = [(await client.get("/sessions")).status_code for _ in range(5)]

    assert statuses[-1] == 429
    assert limited == [429] * 5
    assert _sample("rate_limited_total", kind="user") == before + 5


async def test_shutdown_closes_kept_alive_connections_after_their_response(
    open_gateway: OpenGateway, replicas: list[StubReplica]
) -> None:
    answered: list[bool] = []

    async def use(client: httpx.AsyncClient) -> None:
        """Send requests on one connection until the gateway closes it."""
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        token = client.headers["authorization"].encode()
        while not reader.at_eof():
            writer.write(b"GET /sessions HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\n\r\n" % token)
            head = await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"{}"
            answered.append(b"connection: close" in head)
            if answered[-1]:
                assert await reader.read() == b""
        writer.close()

    async with open_gateway(replicas[0], requests_per_minute=10**9) as client:
        users = [asyncio.create_task(use(client)) for _ in range(4)]
        while len(answered) < 40:
            await asyncio.sleep(0.01)
        users_done = asyncio.gather(*users)
    async with asyncio.timeout(2):
        await users_done

    assert answered.count(True) == 4


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
