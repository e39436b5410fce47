"""Partial texts of a live recording, sent while it grows."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from prometheus_client import Counter
from starlette.websockets import WebSocket, WebSocketDisconnect

from coach_ai.speech.live_context import LiveContext
from coach_ai.speech.local_agreement import Hypothesis, LocalAgreement
from coach_ai.speech.recording_file import RecordingFile
from coach_common import logs
from coach_common.errors import CoachError

log = logs.get_logger(__name__)

PARTIALS = Counter("coach_ai_live_partials", "Partial texts sent to clients.")

_MIN_DECODE_INTERVAL_SECONDS = 0.1
_SETTLE_SECONDS = 2.0  # without audio; clients send pieces of up to 1 s
_RETRY_SECONDS = 5.0


class LiveTranscriber(Protocol):
    """Transcribes a recording that is still growing."""

    async def decode(
        self,
        recording: Path,
        *,
        sample_rate: int | None,
        start: float,
        language: str | None,
        prompt: str = "",
    ) -> tuple[Hypothesis, str | None] | None:
        """Return the words from `start` on and the language if it is certain.

        Returns None if no word is new.
        """


@dataclass(slots=True)
class LivePartials:
    """Decodes a recording again and again, and sends the words that are committed.

    A decode that finds new words is followed by the next one at once: the decoder itself waits for
    enough new speech, and requests of several recordings are served in turn. A decode without new
    words has only read the recording. This takes longer the longer the phrase and the more
    recordings are in progress, so the next one waits as long again.
    """

    socket: WebSocket
    file: RecordingFile
    transcriber: LiveTranscriber
    context: LiveContext
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    now: Callable[[], float] = time.monotonic
    _agreement: LocalAgreement = field(default_factory=LocalAgreement)
    _language: str | None = None

    async def send(self) -> None:
        """Send partial texts until cancelled. A failure ends them and not the recording."""
        try:
            await self._send_forever()
        except (WebSocketDisconnect, RuntimeError):
            log.info("live.partials_undeliverable")
        except Exception:
            log.exception("live.transcription_crashed")

    async def _send_forever(self) -> None:
        decoded_bytes, received_at = 0, 0.0
        delay_seconds = _MIN_DECODE_INTERVAL_SECONDS
        while True:
            await self.sleep(delay_seconds)
            delay_seconds = _MIN_DECODE_INTERVAL_SECONDS
            started_at = self.now()
            received_bytes = self.file.received
            if received_bytes == decoded_bytes:
                if started_at - received_at >= _SETTLE_SECONDS and self._agreement.settle():
                    await self._send_partial()
                continue
            try:
                hypothesis = await self._decode()
            except CoachError as error:
                # Partial text is optional: the recording continues without it.
                log.warning("live.transcription_failed", reason=str(error))
                delay_seconds = _RETRY_SECONDS
                continue
            decoded_bytes, received_at = received_bytes, started_at
            if hypothesis is None:
                delay_seconds = max(_MIN_DECODE_INTERVAL_SECONDS, self.now() - started_at)
            else:
                await self._send_hypothesis(hypothesis)

    async def _decode(self) -> Hypothesis | None:
        """Return the words of the current window, or None if no word is new."""
        result = await self.transcriber.decode(
            self.file.path,
            sample_rate=self.file.info.sample_rate,
            start=self._agreement.window_start,
            language=self._language,
            prompt=self.context.prompt,
        )
        if result is None:
            return None
        hypothesis, language = result
        self._language = self._language or language
        return hypothesis

    async def _send_hypothesis(self, hypothesis: Hypothesis) -> None:
        """Send what a hypothesis commits, and the silence that the audio ends with."""
        if self._agreement.update(hypothesis):
            await self._send_partial()
        dialogue = self.context.dialogue
        silence = None if dialogue is None else dialogue.find_silence(hypothesis)
        if silence is not None and self.context.reports_silence:
            await self.socket.send_json({"type": "silence", "seconds": silence})

    async def _send_partial(self) -> None:
        PARTIALS.inc()
        text = self._agreement.text
        is_reply = await self.context.is_reply(text)
        await self.socket.send_json({"type": "partial", "text": text, "is_reply": is_reply})
