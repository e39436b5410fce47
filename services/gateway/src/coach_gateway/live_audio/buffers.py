"""Buffers of live audio, bounded in bytes."""

import asyncio

from coach_common.errors import Unavailable

MAX_PENDING_BYTES = 2 * 1024 * 1024
MAX_REPLAY_BYTES = 1024 * 1024
"""About 30 s of PCM at 16 kHz."""
_MAX_CHUNK_BYTES = 64 * 1024
_PUT_TIMEOUT_SECONDS = 10.0


class AudioOverrun(Unavailable):
    """ai does not accept the audio as fast as the client sends it."""

    code = "live_overrun"

    def __init__(self) -> None:
        super().__init__("The recording cannot be processed fast enough. Please resume it.")


class AudioDiscarded(Exception):
    """The recording was abandoned. What ai has received is not its end."""


class PendingAudio:
    """Audio that was received from the client and not yet sent to ai.

    A full buffer makes the client wait, so that TCP slows it down. A single longer frame is
    accepted while the buffer is empty.
    """

    def __init__(
        self,
        max_bytes: int = MAX_PENDING_BYTES,
        put_timeout_seconds: float = _PUT_TIMEOUT_SECONDS,
    ) -> None:
        self._max_bytes = max_bytes
        self._put_timeout_seconds = put_timeout_seconds
        self._content = bytearray()
        self._is_ended = False
        self._is_discarded = False
        self._has_room = asyncio.Event()
        self._has_content = asyncio.Event()

    @property
    def size_bytes(self) -> int:
        """How much audio is pending."""
        return len(self._content)

    async def put(self, content: bytes) -> None:
        """Append audio, waiting while the buffer is full. Raises AudioOverrun after a timeout."""
        try:
            async with asyncio.timeout(self._put_timeout_seconds):
                while self._content and len(self._content) + len(content) > self._max_bytes:
                    self._has_room.clear()
                    await self._has_room.wait()
        except TimeoutError:
            raise AudioOverrun from None
        if not self._is_ended:
            self._content += content
            self._has_content.set()

    def end(self) -> None:
        """Mark the end. Audio that is put later is dropped."""
        self._is_ended = True
        self._has_content.set()

    def discard(self) -> None:
        """Drop everything and accept no more. `get` raises AudioDiscarded."""
        self._is_discarded = True
        self._content.clear()
        self.end()
        self._has_room.set()

    async def get(self) -> bytes | None:
        """Return the next audio, at most 64 KiB, or None at the end. Raises AudioDiscarded."""
        await self._has_content.wait()
        if self._is_discarded:
            raise AudioDiscarded
        chunk = bytes(self._content[:_MAX_CHUNK_BYTES])
        del self._content[: len(chunk)]
        self._has_room.set()
        if not self._content and not self._is_ended:
            self._has_content.clear()
        return chunk or None


class ReplayBuffer:
    """The last bytes that were sent to ai, and the total number of bytes."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self._tail = bytearray()

    def add(self, content: bytes) -> None:
        """Append audio that is about to be sent."""
        self.total_bytes += len(content)
        self._tail += content
        del self._tail[: max(0, len(self._tail) - MAX_REPLAY_BYTES)]

    def read_from(self, position: int) -> bytes:
        """Return the bytes from `position` on. Raises Unavailable if some are no longer there."""
        missing_bytes = self.total_bytes - position
        if missing_bytes < 0 or missing_bytes > len(self._tail):
            raise Unavailable("Part of the live audio was lost.", code="live_lost")
        return bytes(self._tail[len(self._tail) - missing_bytes :])
