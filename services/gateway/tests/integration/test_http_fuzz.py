"""Random bytes in random pieces against the gateway: pipelining, framing, upgrades, disconnects.

Invariants: every request gets one response or a close within its deadline, no slot outlives its
request, and no request reaches an upstream that h11, a strict parser, does not see.
"""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h11
import httptools
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from coach_common.ids import new_id
from coach_common.service import listen, running
from coach_common.testing.fakes import FakeTransport, TokenIssuer
from coach_common.testing.harness import wait_until
from coach_gateway.app import build
from coach_gateway.config import GatewaySettings

DEADLINE_SECONDS = 5.0
_case_ids = itertools.count()


@dataclass
class Scenario:
    """The bytes of one connection, where they are cut, and where the client disconnects."""

    requests: list[bytes]
    cuts: list[int]
    disconnect_at: int | None


def _request(
    method: str,
    path: str,
    headers: list[str],
    framing: tuple[str, ...],
    body: bytes,
    chunk_bytes: int,
    trailer: str,
    upstream: str,
) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1", "Host: x", "X-Case: ?",
        f"X-Stub: {upstream}", *headers,
    ]  # fmt: skip
    if "chunked" in framing:
        lines.append("Transfer-Encoding: chunked")
    if "length" in framing:
        lines.append(f"Content-Length: {len(body)}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    if "chunked" in framing:
        chunks = [body[at : at + chunk_bytes] for at in range(0, len(body), chunk_bytes)]
        encoded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        return head + encoded + b"0\r\n" + trailer.encode() + b"\r\n"
    return head + (body if "length" in framing else b"")


def _mostly(usual: list[Any], odd: list[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy that takes odd values one time in five."""
    return st.integers(0, 4).flatmap(lambda roll: st.sampled_from(usual if roll else odd))


_HEADERS = st.lists(
    _mostly(
        [
            "Connection: keep-alive", "A: b", "Cookie: x=1", "Content-Type: application/json",
            "Connection: Upgrade\r\nUpgrade: h2c", "Connection: Upgrade\r\nUpgrade: websocket",
        ],
        [
            "Connection: close", "Upgrade: TLS/1.0", "Content-Length: 0", "Content-Length: 7",
            "Bad Header: 1", " folded", "Transfer-Encoding : chunked",
            "Transfer-Encoding: identity", "Host: y", "TE: trailers", "Trailer: X-T",
            "Expect: nothing",
        ],
    ),
    max_size=2,
)  # fmt: skip
_REQUESTS = st.builds(
    _request,
    method=_mostly(["GET", "POST"], ["PUT", "DELETE", "HEAD", "get", "CONNECT"]),
    path=_mostly(
        ["/sessions", "/sessions?a=b", "/v1/sessions"],
        ["/nothing", "/ws/transcribe", "/a b", "/health/live", "/sessions%2f1",
         "http://x/sessions", "*", "/sessions/1"],
    ),
    headers=_HEADERS,
    framing=_mostly([(), ("length",), ("chunked",)], [("length", "chunked")]),
    body=st.sampled_from(
        [b"", b"{}", b'{"a": 1}', b"GET /sessions HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n\r\n" * 9]
    ),
    chunk_bytes=st.integers(1, 9),
    trailer=_mostly(["", "X-T: 1\r\n", "Authorization: Bearer x\r\n"], ["bad\r\n"]),
    upstream=st.sampled_from(["whole", "whole", "pieces", "chunked", "close", "early", "invalid"]),
)  # fmt: skip
_SCENARIOS = st.lists(
    st.builds(
        Scenario,
        requests=st.lists(_REQUESTS, min_size=1, max_size=4),
        cuts=st.lists(st.integers(0, 600), max_size=4),
        disconnect_at=st.one_of(st.none(), st.none(), st.integers(0, 600)),
    ),
    min_size=1,
    max_size=8,
)


class StubUpstream:
    """Records requests and responds as the header X-Stub asks for."""

    def __init__(self, issuer: TokenIssuer) -> None:
        self.requests: list[tuple[int, bytes]] = []
        """X-Case and body of each request."""
        self._issuer = issuer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._exchange(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines[1:-2])
        body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
        assert b"transfer-encoding" not in headers
        if b"x-case" not in headers:
            writer.write(self._answer_own_call(lines[0]))
            return
        self.requests.append((int(headers[b"x-case"]), body))
        behaviour = headers[b"x-stub"]
        whole = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody"
        if behaviour == b"close":
            raise ConnectionError
        if behaviour == b"invalid":
            whole = b"HTTP/1.1 two hundred\r\n\r\n"
        if behaviour == b"chunked":
            whole = (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                b"4\r\nbody\r\n0\r\nx-trailer: 1\r\n\r\n"
            )
        if behaviour == b"early":
            whole = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + whole
        writer.write(whole[:20])
        if behaviour == b"pieces":
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(whole[20:])

    def _answer_own_call(self, line: bytes) -> bytes:
        from json import dumps

        from jwt.algorithms import RSAAlgorithm

        if b"/internal/revocations" in line:
            body = b'{"cursor": "", "revoked": []}'
        else:
            key = RSAAlgorithm.to_jwk(self._issuer.private_key.public_key(), as_dict=True)
            named = key | {"kid": self._issuer.kid, "use": "sig", "alg": "RS256"}
            body = dumps({"keys": [named]}).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body


class FuzzTarget:
    """A gateway and its stub upstream on a separate event loop."""

    def __init__(self) -> None:
        self.issuer = TokenIssuer()
        self.upstream = StubUpstream(self.issuer)
        self.token = self.issuer.issue(new_id()).encode()
        self.port = 0
        self.connections: Any = None
        self.loop = asyncio.new_event_loop()
        self._strict: dict[int, bytes] = {}
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run_loop)

    def __enter__(self) -> "FuzzTarget":
        self._thread.start()
        assert self._started.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        self.loop.close()

    def _run_loop(self) -> None:
        self.loop.run_until_complete(self._serve())
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    async def _serve(self) -> None:
        server = await asyncio.start_server(self.upstream.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        listener = listen("127.0.0.1", 0)
        service = build(
            GatewaySettings(
                auth_url=url, sessions_url=url, media_url=url, ai_url=url,
                service_token="a token between services", environment="development",
                header_timeout_seconds=0.2, body_chunk_timeout_seconds=0.2, keep_alive_seconds=0.2,
                requests_per_minute=10**9, shutdown_seconds=1,
            ),
            FakeTransport(),
        )  # fmt: skip
        async with running(service, listener):
            self.port = listener.getsockname()[1]
            assert service.http is not None
            self.connections = service.http.connections
            self._started.set()
            await self._stop.wait()
        server.close()

    def run(self, scenarios: list[Scenario]) -> None:
        """Run the scenarios at the same time and check the invariants."""

        async def run_all() -> None:
            seen = await asyncio.gather(*(self._run_one(one) for one in scenarios))
            # A request of an aborted client may arrive during a later example.
            self._strict.update(itertools.chain.from_iterable(seen))
            await wait_until(self._is_idle, description="free slots")
            for case_id, body in self.upstream.requests:
                assert self._strict.get(case_id) == body, (case_id, body)

        asyncio.run_coroutine_threadsafe(run_all(), self.loop).result(60)

    async def _is_idle(self) -> bool:
        in_flight = [
            REGISTRY.get_sample_value("coach_gateway_upstream_in_flight", {"upstream": "sessions"})
        ]
        return in_flight == [0] and not self.connections

    async def _run_one(self, scenario: Scenario) -> list[tuple[int, bytes]]:
        """Send the bytes; return the requests that a strict parser sees in them."""
        data = b"".join(
            request.replace(
                b"X-Case: ?",
                b"Authorization: Bearer %b\r\nX-Case: %d" % (self.token, next(_case_ids)),
            )
            for request in scenario.requests
        )
        is_aborted = scenario.disconnect_at is not None and scenario.disconnect_at < len(data)
        if is_aborted:
            data = data[: scenario.disconnect_at]
        requests, is_finished = _parse_strictly(data)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            cuts = sorted({cut for cut in scenario.cuts if cut < len(data)} | {0, len(data)})
            for start, end in itertools.pairwise(cuts):
                writer.write(data[start:end])
                await writer.drain()
                await asyncio.sleep(0)
            if not is_aborted:
                counter = _ResponseCounter(is_readable=b"HEAD " not in data)
                async with asyncio.timeout(DEADLINE_SECONDS):
                    while piece := await reader.read(65_536):
                        counter.feed(piece)
                        if is_finished and counter.count == len(requests):
                            break
                assert counter.count <= len(requests) + 1
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
        return [(case_id, body) for case_id, _, body in requests]


class _ResponseCounter:
    """Counts complete responses. Those to HEAD have no body."""

    def __init__(self, *, is_readable: bool) -> None:
        self.count = 0
        self._parser = httptools.HttpResponseParser(self)
        self._is_readable = is_readable

    def feed(self, data: bytes) -> None:
        if not self._is_readable:
            return  # a response to HEAD is not delimited for this parser
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.count += 1

    def on_message_complete(self) -> None:
        self.count += 1


def _parse_strictly(data: bytes) -> tuple[list[tuple[int, bytes, bytes]], bool]:
    """Return X-Case, method and body of each request, and whether the last one is complete."""
    connection = h11.Connection(h11.SERVER)
    found: list[tuple[int, bytes, bytes]] = []
    connection.receive_data(data)
    try:
        while True:
            event = connection.next_event()
            if event is h11.PAUSED and connection.our_state is h11.SEND_RESPONSE:
                pass
            elif not isinstance(event, h11.Request):
                return found, event is h11.NEED_DATA and connection.trailing_data[0] == b""
            case_id, method = _case_id(event), event.method
            if method == b"CONNECT":
                return found, False  # never a request for an upstream
            body = bytearray()
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if not isinstance(event, h11.Data):
                    return found, False
                body += event.data
            found.append((case_id, method, bytes(body)))
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE:
                return found, True
            connection.start_next_cycle()
    except h11.RemoteProtocolError:
        return found, False


def _case_id(request: h11.Request) -> int:
    return next((int(value) for name, value in request.headers if name == b"x-case"), -1)


@pytest.fixture(scope="module")
def target() -> Iterator[FuzzTarget]:
    with FuzzTarget() as running_target:
        yield running_target


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(scenarios=_SCENARIOS)
def test_any_bytes_get_responses_or_a_close_and_leak_nothing(
    target: FuzzTarget, scenarios: list[Scenario]
) -> None:
    target.run(scenarios)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_disconnect_at_each_byte_frees_everything(target: FuzzTarget, framing: str) -> None:
    request = _request("POST", "/sessions", [], (framing,), b'{"a": 1}', 3, "", "pieces")
    size = len(request) + len(target.token) + 30

    target.run([Scenario([request, request], [], at) for at in range(0, size * 2, 7)])
