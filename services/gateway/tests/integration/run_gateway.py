"""Runs a gateway in a separate process. Settings come from the environment."""

import asyncio

import uvloop

from coach_common import logs
from coach_common.service import listen, running, wait_for_shutdown
from coach_common.testing.fakes import FakeTransport
from coach_gateway.app import build
from coach_gateway.config import GatewaySettings


async def main() -> None:
    """Serve on a free port, print it, and stop at SIGTERM."""
    logs.configure(level="INFO", json=True)
    listener = listen("127.0.0.1", 0)
    async with running(build(GatewaySettings.load(), FakeTransport()), listener):
        print(listener.getsockname()[1], flush=True)
        await wait_for_shutdown()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
