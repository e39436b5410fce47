"""Response bodies of rewrites."""

from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from coach_ai.domain.rewrites import Rewrite


class RewriteSentence(BaseModel):
    """A sentence of a rewrite, with the passage of the transcript that it is made of."""

    text: str
    quote: str | None = Field(
        serialization_alias="from", description="passage of the transcript; null for a blank"
    )
    is_blank: bool = Field(description="whether the whole sentence is a blank")


class RewriteResponse(BaseModel):
    """A stronger version of an answer. It has only what the answer contains, and blanks."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "session_id": "0198f7a2-7f3a-7c1e-9d55-0a4f6f2b7c11",
                    "rewrite": "I fixed the build in [how many] days.",
                    "sentences": [
                        {
                            "text": "I fixed the build in [how many] days.",
                            "from": "I fixed the build in some days",
                            "is_blank": False,
                        }
                    ],
                    "blanks": ["[how many]"],
                    "provider": "openai",
                    "model": "gpt-4o-mini",
                    "note": "Fill in each blank with what really happened, or delete it.",
                }
            ]
        }
    )

    session_id: UUID
    rewrite: str = Field(description="all sentences as one text")
    sentences: list[RewriteSentence]
    blanks: list[str] = Field(
        description="what is missing, each in brackets as it occurs in `rewrite`"
    )
    provider: str = Field(description="`local` for the template, else `openai`")
    model: str
    note: str = Field(description="how it was made, and what to do with it")

    @classmethod
    def from_domain(cls, session_id: UUID, rewrite: Rewrite) -> Self:
        """Return the response body of a rewrite."""
        return cls(
            session_id=session_id,
            rewrite=rewrite.text,
            sentences=[
                RewriteSentence(text=one.text, quote=one.quote, is_blank=one.is_blank)
                for one in rewrite.sentences
            ],
            blanks=list(rewrite.blanks),
            provider=rewrite.provider,
            model=rewrite.model,
            note=rewrite.note,
        )
