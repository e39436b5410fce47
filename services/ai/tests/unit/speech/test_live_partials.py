"""Pace of partial texts: new words at once, and a backoff after a decode that found none."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coach_ai.domain import Word
from coach_ai.speech.live_context import LiveContext
from coach_ai.speech.live_partials import LivePartials
from coach_ai.speech.local_agreement import Hypothesis
from coach_common.errors import Unavailable

WORDS = Hypothesis((Word("We", 0.0, 0.2), Word("won.", 0.2, 0.5)), 1.0, phrase_end=0.5)


@dataclass
class Recording:
    """A recording that grows with a clock, its transcriber and its client.

    Args:
        decodes: How long each decode takes, and what it returns or raises.
        audio_seconds: When the client stops sending.
    """

    decodes: Sequence[tuple[float, Hypothesis | Exception | None]]
    audio_seconds: float = 60.0
    time: float = 0.0
    gaps: list[float] = field(default_factory=list)
    """Seconds before each decode since the last one ended."""
    sent: list[dict[str, Any]] = field(default_factory=list)
    _ended_at: float = 0.0

    path = Path("recording.audio")
    info = SimpleNamespace(sample_rate=16_000)

    @property
    def received(self) -> int:
        return int(min(self.time, self.audio_seconds) * 32_000)

    async def sleep(self, seconds: float) -> None:
        if self.time > 60.0:
            raise asyncio.CancelledError
        self.time += seconds

    async def decode(self, *_: Any, **__: Any) -> tuple[Hypothesis, str | None] | None:
        if len(self.gaps) == len(self.decodes):
            raise asyncio.CancelledError
        seconds, result = self.decodes[len(self.gaps)]
        self.gaps.append(round(self.time - self._ended_at, 3))
        self.time += seconds
        self._ended_at = self.time
        if isinstance(result, Exception):
            raise result
        return None if result is None else (result, None)

    async def send_json(self, frame: dict[str, Any]) -> None:
        self.sent.append(frame)

    async def run(self) -> None:
        """Send partial texts until every decode was used, or for 60 s."""
        itself = cast(Any, self)
        partials = LivePartials(
            itself, itself, itself, LiveContext(), sleep=self.sleep, now=lambda: self.time
        )
        with pytest.raises(asyncio.CancelledError):
            await partials.send()


async def test_next_decode_follows_at_once_after_new_words() -> None:
    recording = Recording([(0.8, WORDS), (0.8, WORDS), (0.8, WORDS)])

    await recording.run()

    assert recording.gaps == [0.1, 0.1, 0.1]
    assert [frame["text"] for frame in recording.sent] == ["We won."]


async def test_decode_without_new_words_is_followed_by_as_long_a_delay() -> None:
    recording = Recording([(0.05, None), (1.5, None), (0.3, None)])

    await recording.run()

    assert recording.gaps == [0.1, 0.1, 1.5]


async def test_delay_ends_with_the_next_words() -> None:
    recording = Recording([(1.5, None), (0.8, WORDS), (0.8, WORDS)])

    await recording.run()

    assert recording.gaps == [0.1, 1.5, 0.1]


async def test_failed_decode_is_retried_after_five_seconds() -> None:
    recording = Recording([(0.1, Unavailable("No model.")), (0.1, WORDS)])

    await recording.run()

    assert recording.gaps == [0.1, 5.0]
    assert [frame["text"] for frame in recording.sent] == ["We won."]


async def test_failed_decode_is_retried_if_no_more_audio_arrives() -> None:
    recording = Recording([(0.1, Unavailable("No model.")), (0.1, WORDS)], audio_seconds=0.05)

    await recording.run()

    assert [frame["text"] for frame in recording.sent] == ["We won."]
