"""What a use case of ai may reach."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from coach_ai.domain import JobKind
from coach_ai.ports import Coach, Transcriber
from coach_ai.spending import Price
from coach_common.clock import Clock
from coach_common.db.database import Database
from coach_common.storage import ObjectStore


@dataclass(frozen=True, slots=True)
class Deps:
    """The database, the clock, the object store, the two providers, and the workers' bells."""

    db: Database
    clock: Clock
    objects: ObjectStore
    transcriber: Transcriber
    coach: Coach
    folder: Path
    """Where recordings lie while they are transcribed."""
    chat_history_tokens: int = 4000
    daily_tokens: int = 200_000
    """What is asked of a language model for a person may take so much from midnight, UTC, on."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    bells: dict[JobKind, asyncio.Event] = field(
        default_factory=lambda: {kind: asyncio.Event() for kind in JobKind}
    )

    def ring(self, *kinds: JobKind) -> None:
        """Wake the workers: there may be something to do."""
        for kind in kinds or JobKind:
            self.bells[kind].set()
