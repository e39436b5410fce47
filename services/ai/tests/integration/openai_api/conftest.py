"""A coach that asks the small server instead of OpenAI."""

from collections.abc import AsyncIterator

import pytest
from openai_server import OpenAIServer

from coach_ai.adapters.openai_coach import OpenAICoach


@pytest.fixture
async def coach(server: OpenAIServer) -> AsyncIterator[OpenAICoach]:
    coach = OpenAICoach("key", server.url, "model")
    yield coach
    await coach.close()
