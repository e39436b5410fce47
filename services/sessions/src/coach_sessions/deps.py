"""The dependencies of the use cases."""

from dataclasses import dataclass

from coach_common.clock import Clock
from coach_common.db.database import Database


@dataclass(frozen=True, slots=True)
class Deps:
    """The database and the clock that use cases work with."""

    db: Database
    clock: Clock
