"""Control calls from one service to another. Not the gateway's hot path."""

from typing import Any

import httpx

from coach_common import telemetry
from coach_common.errors import CoachError, NotFound, Unavailable

_TIMEOUT = httpx.Timeout(5.0, connect=2.0)


def open_client(base_url: str, *, token: str | None = None) -> httpx.AsyncClient:
    """Return a client towards a fixed service: no redirects, no proxies, short time-outs."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return httpx.AsyncClient(
        base_url=base_url,
        headers=headers,
        timeout=_TIMEOUT,
        follow_redirects=False,
        trust_env=False,
    )


async def get_json(client: httpx.AsyncClient, path: str, *, bearer: str | None = None) -> Any:
    """Return the JSON body of a 200.

    Raises NotFound for 404, Unavailable for a time-out, a refusal or a 5xx, CoachError else.
    """
    headers: dict[str, str] = {}
    if bearer is not None:
        headers["authorization"] = f"Bearer {bearer}"
    if (request_id := telemetry.request_id.get()) is not None:
        headers["x-request-id"] = request_id
    if (traceparent := telemetry.trace.get()) is not None:
        headers["traceparent"] = traceparent
    try:
        answer = await client.get(path, headers=headers)
    except httpx.HTTPError as error:
        raise Unavailable("A part of the service is away. Please try again.") from error
    if answer.status_code == 404:
        raise NotFound("not found")
    if answer.status_code >= 500 or answer.status_code == 429:
        raise Unavailable("A part of the service is away. Please try again.")
    if answer.status_code != 200:
        raise CoachError(f"unexpected answer {answer.status_code} from a service")
    return answer.json()


async def fetch_json(url: str) -> Any:
    """Return the JSON at `url` over a connection of its own."""
    async with open_client("") as client:
        return await get_json(client, url)
