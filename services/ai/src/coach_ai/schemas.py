"""Request and response bodies of ai."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints


class ChatMessage(BaseModel):
    """Something to say to the coach."""

    model_config = ConfigDict(extra="ignore")

    message: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8000)]
    conversation_id: Annotated[str, StringConstraints(max_length=64)] | None = None


class ChatReply(BaseModel):
    """What the coach says."""

    reply: str
    conversation_id: str
    provider: str
