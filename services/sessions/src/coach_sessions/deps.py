"""What a use case of sessions may reach."""

from dataclasses import dataclass

from coach_common.clock import Clock
from coach_common.db.database import Database


@dataclass(frozen=True, slots=True)
class Deps:
    """The database and the clock."""

    db: Database
    clock: Clock
