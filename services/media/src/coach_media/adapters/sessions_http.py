"""Asking sessions over HTTP whose session it is."""

from uuid import UUID

from coach_common.errors import NotFound
from coach_common.http.client import get_json, open_client


class HttpSessionDirectory:
    """A SessionDirectory that asks in the person's own name."""

    def __init__(self, sessions_url: str) -> None:
        self._client = open_client(sessions_url)

    async def check(self, session_id: UUID, *, bearer: str) -> None:
        """Ask sessions for the session; only its owner is answered 200."""
        try:
            await get_json(self._client, f"/sessions/{session_id}", bearer=bearer)
        except NotFound:
            raise NotFound("Session not found", code="session_not_found") from None

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()
