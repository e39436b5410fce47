"""The response side of a connection, with a connection that keeps what is sent."""

import asyncio
from dataclasses import dataclass, field

import pytest

from coach_common.http.exchange import Exchange


@dataclass
class RecordedConnection:
    """A connection that keeps what is sent."""

    loop: asyncio.AbstractEventLoop
    is_write_paused: bool = False
    closes_early_responses: bool = False
    keep_alive_line: bytes = b"keep-alive: timeout=75\r\n"
    default_lines: bytes = b"x-a: 1\r\n"
    sent: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes) -> None:
        self.sent += data

    async def drain(self) -> None:
        return None

    def resume_reading(self) -> None:
        return None

    def finish_exchange(self, exchange: Exchange) -> None:
        return None


@pytest.mark.parametrize("name", [b"content-length", b"Content-Length"])
async def test_response_has_one_framing_header_however_it_is_spelled(name: bytes) -> None:
    connection = RecordedConnection(asyncio.get_running_loop())
    exchange = Exchange(connection, is_head=False, keeps_alive=True, expects_continue=False)
    headers = [(name, b"2"), (b"Connection", b"Close"), (b"Transfer-Encoding", b"chunked")]

    await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
    await exchange.send({"type": "http.response.body", "body": b"ok"})

    assert bytes(connection.sent) == (
        b"HTTP/1.1 200 OK\r\nx-a: 1\r\n%b: 2\r\nconnection: close\r\n\r\nok" % name
    )
