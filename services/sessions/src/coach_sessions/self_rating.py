"""The rule of self-ratings: users rate an answer before they have read its score. No I/O."""

from dataclasses import replace
from datetime import datetime

from coach_common.errors import Conflict
from coach_sessions.domain import Session


class FeedbackRevealed(Conflict):
    """The session cannot be rated, because the user has already read its score."""

    code = "feedback_revealed"

    def __init__(self) -> None:
        super().__init__("The score of this session was already shown. Rate the next one earlier.")


def rate_session(session: Session, rating: int, *, at: datetime) -> Session:
    """Return the session with the user's own rating, 0 to 100. It replaces an earlier one.

    Raises:
        FeedbackRevealed: If the user has already read the score.
        IsInterview: If the session is an interview.
    """
    session.require_practice()
    if session.revealed_at is not None:
        raise FeedbackRevealed
    return replace(session, self_rating=rating, self_rated_at=at)
