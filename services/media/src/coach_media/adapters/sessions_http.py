"""Session ownership over HTTP, from the sessions service."""

from uuid import UUID

from coach_common.errors import NotFound
from coach_common.http.client import create_client, get_json


class HttpSessionOwnership:
    """SessionOwnership that calls the sessions service with the user's own token."""

    def __init__(self, sessions_url: str) -> None:
        self._client = create_client(sessions_url)

    async def require_owner(self, session_id: UUID, *, bearer: str) -> None:
        """Fetch the session as the user; only its owner gets a 200 response."""
        try:
            await get_json(self._client, f"/sessions/{session_id}", bearer=bearer)
        except NotFound:
            raise NotFound("Session not found", code="session_not_found") from None

    async def close(self) -> None:
        """Close the HTTP connections."""
        await self._client.aclose()
