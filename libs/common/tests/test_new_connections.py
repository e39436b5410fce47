"""New connections of a service's HTTP server."""

import asyncio
import socket

import uvloop
from fastapi import FastAPI

from coach_common.config import Settings
from coach_common.service import Service, listen, running
from coach_common.testing.fakes import FakeTransport

CONNECTIONS = 64
MAX_ITERATIONS = 30
"""Iterations of the event loop until every new connection has its response. Without more accepts
per iteration the last connection alone would wait for 64."""


def test_burst_of_connections_is_accepted_in_few_iterations() -> None:
    assert uvloop.run(_count_iterations()) <= MAX_ITERATIONS


async def _count_iterations() -> int:
    app = FastAPI()

    @app.get("/")
    async def answer() -> str:
        return "done"

    listener = listen("127.0.0.1", 0)
    address = listener.getsockname()
    service = Service("test", app, Settings(), FakeTransport(), deps=None)
    async with running(service, listener):
        # Nothing is accepted here, because this function does not return to the event loop.
        clients = [socket.create_connection(address) for _ in range(CONNECTIONS)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
            client.setblocking(False)
        waiting, iterations = set(clients), 0
        while waiting:
            await asyncio.sleep(0)
            iterations += 1
            waiting = {client for client in waiting if not _has_response(client)}
            assert iterations < 100_000
        for client in clients:
            client.close()
    return iterations


def _has_response(client: socket.socket) -> bool:
    try:
        return client.recv(4096).startswith(b"HTTP/1.1 200")
    except BlockingIOError:
        return False
