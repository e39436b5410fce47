"""HTTP calls from one service to another. The gateway forwards requests with its own client."""

from typing import Any

import httpx

from coach_common import telemetry
from coach_common.errors import CoachError, NotFound, Unavailable

_TIMEOUT = httpx.Timeout(5.0, connect=2.0)


def create_client(base_url: str, *, token: str | None = None) -> httpx.AsyncClient:
    """Return a client for one service: no redirects, no proxies, short timeouts."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return httpx.AsyncClient(
        base_url=base_url,
        headers=headers,
        timeout=_TIMEOUT,
        follow_redirects=False,
        trust_env=False,
    )


async def get_json(client: httpx.AsyncClient, path: str, *, bearer: str | None = None) -> Any:
    """Return the JSON body of a 200 response.

    Raises:
        NotFound: For status 404.
        Unavailable: For a timeout, a failed connection, or status 429 or 5xx.
        CoachError: For any other status.
    """
    headers: dict[str, str] = {}
    if bearer is not None:
        headers["authorization"] = f"Bearer {bearer}"
    if (request_id := telemetry.current_request_id.get()) is not None:
        headers["x-request-id"] = request_id
    if (traceparent := telemetry.current_traceparent.get()) is not None:
        headers["traceparent"] = traceparent
    try:
        response = await client.get(path, headers=headers)
    except httpx.HTTPError as error:
        raise Unavailable("The service is temporarily unavailable. Please try again.") from error
    if response.status_code == 404:
        raise NotFound("not found")
    if response.status_code >= 500 or response.status_code == 429:
        raise Unavailable("The service is temporarily unavailable. Please try again.")
    if response.status_code != 200:
        raise CoachError(f"unexpected status {response.status_code} from an internal service")
    return response.json()


async def fetch_json(url: str) -> Any:
    """Return the JSON document at `url`, over a new connection. Raises like `get_json`."""
    async with create_client("") as client:
        return await get_json(client, url)
