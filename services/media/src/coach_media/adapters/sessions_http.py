"""Asking sessions over HTTP whose session it is."""

from uuid import UUID

from coach_common.errors import NotFound
from coach_common.http.client import create_client, get_json


class HttpSessionOwnership:
    """A SessionDirectory that asks in the person's own name."""

    def __init__(self, sessions_url: str) -> None:
        self._client = create_client(sessions_url)

    async def require_owner(self, session_id: UUID, *, bearer: str) -> None:
        """Ask sessions for the session; only its owner is answered 200."""
        try:
            await get_json(self._client, f"/sessions/{session_id}", bearer=bearer)
        except NotFound:
            raise NotFound("Session not found", code="session_not_found") from None

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()
