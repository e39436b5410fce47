"""A scorer, a rewriter and a chat that call the fake OpenAI server."""

from collections.abc import AsyncIterator

import pytest

from coach_ai.openai.chat import OpenAIChat
from coach_ai.openai.rewriter import OpenAIRewriter
from coach_ai.openai.scorer import OpenAIScorer
from support.openai_server import OpenAIServer


@pytest.fixture
async def scorer(server: OpenAIServer) -> AsyncIterator[OpenAIScorer]:
    scorer = OpenAIScorer("key", server.url, "model")
    yield scorer
    await scorer.close()


@pytest.fixture
async def chat(server: OpenAIServer) -> AsyncIterator[OpenAIChat]:
    chat = OpenAIChat("key", server.url, "model")
    yield chat
    await chat.close()


@pytest.fixture
async def rewriter(server: OpenAIServer) -> AsyncIterator[OpenAIRewriter]:
    rewriter = OpenAIRewriter("key", server.url, "model")
    yield rewriter
    await rewriter.close()
