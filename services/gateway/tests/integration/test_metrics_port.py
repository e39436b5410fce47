"""Metrics on a separate port."""

from typing import Any

import httpx
import pytest

from coach_common.testing.harness import http_client
from coach_common.testing.servers import free_port


@pytest.fixture
def setting_overrides() -> dict[str, Any]:
    return {"metrics_port": free_port(), "host": "127.0.0.1"}


async def test_metrics_are_on_their_own_port_only(
    client: httpx.AsyncClient, setting_overrides: dict[str, Any]
) -> None:
    port = setting_overrides["metrics_port"]
    async with http_client() as scraper:
        text = (await scraper.get(f"http://127.0.0.1:{port}/metrics")).text

    assert "coach_http_requests_total" in text
    assert (await client.get("/metrics")).status_code == 404
