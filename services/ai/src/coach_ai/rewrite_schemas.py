"""Response bodies of rewrites."""

from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field

from coach_ai.domain.rewrites import Rewrite


class RewriteSentence(BaseModel):
    """A sentence of a rewrite, with the passage of the transcript that it is made of."""

    text: str
    quote: str | None = Field(
        serialization_alias="from", description="passage of the transcript; null for a blank"
    )
    is_blank: bool = Field(description="whether the whole sentence is a blank")


class RewriteResponse(BaseModel):
    """A stronger version of an answer. It contains only what was said, and blanks."""

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
