"""Addresses that the embedded system listens on."""

from pathlib import Path

import pytest

from coach_common.testing.harness import http_client
from coach_embedded.config import EmbeddedSettings
from coach_embedded.topology import run_system


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
async def test_localhost_answers_on_ipv4_and_ipv6(tmp_path: Path, host: str) -> None:
    settings = EmbeddedSettings(host=host, port=0, data_dir=tmp_path)
    async with run_system(settings, tmp_path) as system, http_client() as client:
        urls = [
            url.replace("127.0.0.1", address)
            for url in (system.url, system.store_url)
            for address in ("127.0.0.1", "[::1]")
        ]
        statuses = [(await client.get(f"{url}/health/live")).status_code for url in urls]
        ready = await client.get(f"{system.url}/health/live")

    assert statuses[:2] == [200, 200]
    assert all(statuses[2:])
    assert ready.status_code == 200
