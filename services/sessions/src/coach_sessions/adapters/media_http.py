"""Uploaded recordings over HTTP, from the media service."""

from uuid import UUID

from coach_common.http.client import create_client, get_json


class HttpUploadedRecordings:
    """UploadedRecordings that calls the media service with the user's own token."""

    def __init__(self, media_url: str) -> None:
        self._client = create_client(media_url)

    async def find_key(self, session_id: UUID, *, bearer: str) -> str | None:
        """Fetch the key of the session's first uploaded recording."""
        path = f"/internal/sessions/{session_id}/recording"
        found = await get_json(self._client, path, bearer=bearer)
        key = found.get("key") if isinstance(found, dict) else None
        return key if isinstance(key, str) else None

    async def close(self) -> None:
        """Close the HTTP connections."""
        await self._client.aclose()
