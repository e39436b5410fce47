"""What a candidate is and applies for, and which delivery metrics are not scored."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from coach_common.errors import Conflict, NotFound

MAX_PROFILE_TEXT_CHARACTERS = 20_000
"""Of the résumé, and of the job description."""


class Accommodation(StrEnum):
    """A group of delivery metrics that can be switched off."""

    PACE = "pace"
    FILLERS = "fillers"
    PAUSES = "pauses"


class ProfileNotFound(NotFound):
    """The user has no profile."""

    code = "profile_not_found"

    def __init__(self) -> None:
        super().__init__("You have no profile. Create it with POST /ai-interview/profile.")


class ProfileExists(Conflict):
    """The user has a profile already."""

    code = "profile_exists"

    def __init__(self) -> None:
        super().__init__("You have a profile already. Replace it with PUT.")


@dataclass(frozen=True, slots=True)
class Profile:
    """A user's profile. Every field may be empty. The texts are data and never instructions."""

    role: str = ""
    target_role: str = ""
    target_companies: tuple[str, ...] = ()
    years_of_experience: int | None = None
    skills: tuple[str, ...] = ()
    resume: str = ""
    job_title: str = ""
    job_description: str = ""
    accommodations: tuple[Accommodation, ...] = ()
    silence_seconds: int | None = None
    """How long a silence may last in interviews before the interviewer says a word. 0: it says
    none. None: as the server is set."""


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """A profile with the times of its creation and its last change."""

    profile: Profile
    created_at: datetime
    updated_at: datetime
