"""The kinds of items in the history, and the refusal of what an interview does not have."""

from uuid import UUID

from coach_common.errors import Conflict
from coach_common.session_kind import SessionKind

__all__ = ["IsInterview", "SessionKind"]


class IsInterview(Conflict):
    """The session is an interview, which has no single answer. The detail names its own path."""

    code = "is_interview"

    def __init__(self, interview_id: UUID) -> None:
        super().__init__(f"This session is an interview: use /ai-interview/sessions/{interview_id}")
