"""The watch that the stacks are under sees what it has to see."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

from support.connections import ConnectionWatch

PROGRAM = """
import socket
for host in ("127.0.0.1", "192.0.2.1"):
    with socket.socket() as one:
        one.setblocking(False)
        one.connect_ex((host, 9))
try:
    socket.getaddrinfo("telemetry.invalid", 443)
except OSError:
    pass
"""


def test_watch_logs_connections_and_names_of_other_machines(tmp_path: Path) -> None:
    watch = ConnectionWatch(tmp_path / "watch")

    subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **watch.environment}, check=True
    )

    assert watch.foreign_hosts == {"192.0.2.1", "telemetry.invalid"}
    assert "127.0.0.1" in watch.hosts


async def test_watch_sees_open_sockets_that_no_audit_hook_has_seen(tmp_path: Path) -> None:
    watch = ConnectionWatch(tmp_path / "watch")
    with socket.create_server(("127.0.0.5", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())
        polling = asyncio.create_task(watch.poll(os.getpid()))
        async with asyncio.timeout(60):
            while "127.0.0.5" not in watch.hosts:
                await asyncio.sleep(0.05)
        polling.cancel()
