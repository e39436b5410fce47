"""Shutdown of a service's HTTP server."""

import asyncio

import pytest
from fastapi import FastAPI

from coach_common.config import Settings
from coach_common.drain import Drain
from coach_common.service import Service, ShutdownDeadline, listen, running, running_together
from coach_common.testing.fakes import FakeTransport
from coach_common.testing.harness import http_client


@pytest.mark.parametrize("shutdown_seconds", [0.5, 1.5])
async def test_shutdown_below_a_second_waits_for_running_requests(shutdown_seconds: float) -> None:
    app = FastAPI()
    has_started = asyncio.Event()

    @app.get("/")
    async def answer_late() -> str:
        has_started.set()
        await asyncio.sleep(0.4)
        return "done"

    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    service = Service(
        "test", app, Settings(shutdown_seconds=shutdown_seconds), FakeTransport(), deps=None
    )
    async with http_client() as client:
        async with running(service, listener):
            request = asyncio.create_task(client.get(url))
            await has_started.wait()
        response = await request

    assert response.json() == "done"


@pytest.mark.parametrize("work_seconds", [0.3, 30.0])
async def test_shutdown_lets_work_under_way_end_before_workers_are_cancelled(
    work_seconds: float,
) -> None:
    drain, has_started, ended = Drain(), asyncio.Event(), []

    async def work() -> None:
        with drain.work():
            has_started.set()
            try:
                await asyncio.sleep(work_seconds)
                ended.append("done")
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
        await asyncio.Event().wait()

    service = Service(
        "test",
        FastAPI(),
        Settings(shutdown_seconds=1),
        FakeTransport(),
        deps=None,
        workers={"work": work},
        drain=drain.close,
    )
    async with running(service, listen("127.0.0.1", 0)):
        await has_started.wait()

    assert ended == ["done" if work_seconds < 1 else "cancelled"]
    assert drain.is_closed


async def test_services_that_run_together_stop_at_the_same_time() -> None:
    """Each drain waits for all others, so stopping one after the other would not end."""
    all_stop, stopping = asyncio.Event(), []

    def service(name: str) -> Service[None]:
        async def drain() -> None:
            stopping.append(name)
            if len(stopping) == 3:
                all_stop.set()
            await all_stop.wait()

        return Service(
            name,
            FastAPI(),
            Settings(shutdown_seconds=240),
            FakeTransport(),
            deps=None,
            drain=drain,
        )

    services = [(service(name), [listen("127.0.0.1", 0)]) for name in ("a", "b", "c")]
    async with running_together(services, deadline=ShutdownDeadline()):
        assert not stopping

    assert sorted(stopping) == ["a", "b", "c"]


def test_services_that_stop_later_have_the_rest_of_one_deadline() -> None:
    now = 100.0
    deadline = ShutdownDeadline(lambda: now)

    assert deadline.remaining_seconds(10) == 10
    now += 7
    assert deadline.remaining_seconds(10) == 3
    now += 60
    assert deadline.remaining_seconds(10) == 1
    assert deadline.remaining_seconds(0.5) == 0.5
