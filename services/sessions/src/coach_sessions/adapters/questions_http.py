"""Interview questions over HTTP, from the ai service."""

from urllib.parse import quote

from coach_common.errors import CoachError, NotFound
from coach_common.http.client import create_client, get_json
from coach_sessions.domain import QuestionNotFound


class HttpQuestions:
    """Questions that calls the ai service with the user's own token."""

    def __init__(self, ai_url: str) -> None:
        self._client = create_client(ai_url)

    async def get_text(self, question_id: str, *, bearer: str) -> str:
        """Fetch the question as the user; ai returns only the bank's and the user's own."""
        path = f"/internal/questions/{quote(question_id, safe='')}"
        try:
            found = await get_json(self._client, path, bearer=bearer)
        except NotFound:
            raise QuestionNotFound from None
        text = found.get("text") if isinstance(found, dict) else None
        if not isinstance(text, str):
            raise CoachError("the ai service returned a question without text")
        return text

    async def close(self) -> None:
        """Close the HTTP connections."""
        await self._client.aclose()
