"""What the quality report says about disputed scores."""

from pydantic import BaseModel, Field


class DisputeCounts(BaseModel):
    """Disputed scores of this deployment, as they are stored now."""

    total: int = Field(description="disputes, except of users who have refused improvement")
    changed: int = Field(description="those whose second score differs by more than the spread")
