"""Replicas behind the door that work, fail, hang, end and come back; answers short and long."""

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


class Replica:
    """A server that does with each request what it is told to."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.answer: bytes | None = OK
        """None: the connection is closed without a word."""
        self.hold = asyncio.Event()
        self.hold.set()
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
                self.asked.append(await reader.readuntil(b"\r\n\r\n"))
                await self.hold.wait()
                if self.answer is None:
                    return
                writer.write(self.answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()


@pytest.fixture
async def replicas() -> AsyncIterator[list[Replica]]:
    found = [Replica(), Replica()]
    for one in found:
        await one.start()
    yield found
    for one in found:
        one.hold.set()
        await one.stop()


Opened = Callable[..., Any]


@pytest.fixture
def opened(upstreams: Any, issuer: TokenIssuer) -> Opened:
    """Return what opens a gateway in front of sessions' replicas."""

    @asynccontextmanager
    async def open_door(*sessions: Replica, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with AsyncExitStack() as stack:
            auth, door = listen("127.0.0.1", 0), listen("127.0.0.1", 0)
            part = Service("auth", upstreams.app("auth", issuer), Settings(), FakeTransport())
            await stack.enter_async_context(running(part, auth))
            auth_url = f"http://127.0.0.1:{auth.getsockname()[1]}"
            built = build(
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
            await stack.enter_async_context(running(built, door))
            url = f"http://127.0.0.1:{door.getsockname()[1]}"
            headers = issuer.bearer(new_id())
            client = httpx.AsyncClient(base_url=url, headers=headers, timeout=20)
            await stack.enter_async_context(client)

            async def knows_who_ended() -> bool:
                return (await client.get("/auth/me")).status_code == 200

            await wait_until(knows_who_ended, description="the gateway", timeout_seconds=10)
            yield client

    return open_door


async def test_replicas_share_the_work(opened: Opened, replicas: list[Replica]) -> None:
    one, other = replicas
    one.hold.clear()
    other.hold.clear()
    async with opened(one, other) as client:
        calls = [asyncio.create_task(client.get("/sessions")) for _ in range(8)]

        async def all_arrived() -> bool:
            return len(one.asked) + len(other.asked) == 8

        await wait_until(all_arrived, description="eight requests", timeout_seconds=10)
        one.hold.set()
        other.hold.set()
        answers = await asyncio.gather(*calls)

    assert [answer.status_code for answer in answers] == [200] * 8
    assert (len(one.asked), len(other.asked)) == (4, 4)


async def test_a_replica_that_is_gone_costs_nobody_an_error_and_comes_back(
    opened: Opened, replicas: list[Replica]
) -> None:
    one, other = replicas
    async with opened(one, other) as client:
        assert (await client.get("/sessions")).status_code == 200
        await one.stop()
        during = [(await client.get("/sessions")).status_code for _ in range(20)]
        one.asked.clear()
        await one.start()

        async def is_back() -> bool:
            assert (await client.get("/sessions")).status_code == 200
            return bool(one.asked)

        await wait_until(is_back, description="the replica's return", timeout_seconds=20)

    assert during == [200] * 20


async def test_a_read_whose_connection_breaks_is_asked_once_more_and_a_write_is_not(
    opened: Opened, replicas: list[Replica]
) -> None:
    one, _ = replicas
    one.answer = None
    async with opened(one) as client:
        read = await client.get("/sessions")
        asked_to_read = len(one.asked)
        one.asked.clear()
        written = await client.post("/sessions", json={"title": "x"})

    assert (read.status_code, written.status_code) == (503, 503)
    assert read.headers["retry-after"]
    assert (asked_to_read, len(one.asked)) == (2, 1)


async def test_a_reading_that_one_replica_drops_is_answered_by_the_other(
    opened: Opened, replicas: list[Replica]
) -> None:
    one, other = replicas
    async with opened(one, other) as client:
        for _ in range(2):
            assert (await client.get("/sessions")).status_code == 200
        one.answer = None
        statuses = [(await client.get("/sessions")).status_code for _ in range(10)]

    assert statuses == [200] * 10


async def test_beyond_its_bound_an_upstream_is_busy_and_others_are_not(
    opened: Opened, replicas: list[Replica]
) -> None:
    one, _ = replicas
    one.hold.clear()
    async with opened(one, upstream_requests=3) as client:
        calls = [asyncio.create_task(client.get("/sessions")) for _ in range(3)]

        async def three_wait() -> bool:
            return len(one.asked) == 3

        await wait_until(three_wait, description="three requests", timeout_seconds=10)
        refused = await client.get("/sessions")
        elsewhere = await client.get("/auth/me")
        one.hold.set()
        answers = await asyncio.gather(*calls)

    assert refused.status_code == 503 and refused.headers["retry-after"]
    assert elsewhere.status_code == 200
    assert [answer.status_code for answer in answers] == [200] * 3


async def test_an_upstream_that_says_nothing_is_given_up(
    opened: Opened, replicas: list[Replica]
) -> None:
    one, _ = replicas
    async with opened(one, upstream_read_seconds=0.3) as client:
        assert (await client.get("/sessions")).status_code == 200
        one.hold.clear()
        answer = await client.get("/sessions")

    assert answer.status_code == 503
    assert answer.json()["detail"] == "The service is temporarily unavailable. Please try again."


@pytest.mark.parametrize(
    ("head", "body", "said"),
    [
        (b"content-length: 100000", b"x" * 100_000, b"x" * 100_000),
        (b"transfer-encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"content-length: 5", b"hello", b"hello"),
        (b"content-length: 0", b"", b""),
    ],
)
async def test_an_answer_arrives_whole_however_it_is_framed(
    opened: Opened, replicas: list[Replica], head: bytes, body: bytes, said: bytes
) -> None:
    one, _ = replicas
    one.answer = b"HTTP/1.1 200 OK\r\nx-own: 1\r\n" + head + b"\r\n\r\n" + body
    async with opened(one) as client:
        answers = [await client.get("/sessions") for _ in range(3)]

    assert [answer.content for answer in answers] == [said] * 3
    assert all(answer.headers["x-own"] == "1" for answer in answers)


async def test_an_answer_without_a_length_ends_with_its_connection(
    opened: Opened, replicas: list[Replica]
) -> None:
    one, _ = replicas
    one.answer = b"HTTP/1.1 200 OK\r\n\r\nuntil the end"
    async with opened(one) as client:
        call = asyncio.create_task(client.get("/sessions"))
        await wait_until(_asked(one, 1), description="the request", timeout_seconds=10)
        await one.stop()

        assert (await call).content == b"until the end"


def _asked(replica: Replica, count: int) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        return len(replica.asked) >= count

    return is_so


async def test_an_answer_that_breaks_off_ends_the_connection_and_invents_nothing(
    opened: Opened, replicas: list[Replica]
) -> None:
    one, _ = replicas
    async with opened(one) as client:
        assert (await client.get("/sessions")).status_code == 200
        one.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nonly this"
        call = asyncio.create_task(client.get("/sessions"))
        await wait_until(_asked(one, 2), description="the request", timeout_seconds=10)
        await one.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            await call


async def test_failures_are_counted_by_upstream(opened: Opened, replicas: list[Replica]) -> None:
    def count() -> float:
        name = "coach_gateway_upstream_retries_total"
        return REGISTRY.get_sample_value(name, {"upstream": "sessions"}) or 0.0

    one, _ = replicas
    one.answer = None
    before = count()
    async with opened(one) as client:
        await client.get("/sessions")

    assert count() == before + 1
