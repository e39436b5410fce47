"""Presents the interviewer's turns on a socket: their text, and a word in a long silence."""

import asyncio
import re
from collections.abc import Callable, Sequence
from enum import StrEnum

from prometheus_client import Counter

from coach_gateway.sockets.frame_base import ServerFrame
from coach_gateway.sockets.interview_frames import (
    InterviewDeltaFrame,
    InterviewSilenceFrame,
    InterviewSilencePrompt,
    InterviewTurnFrame,
)

SILENCE_PROMPTS = Counter(
    "coach_gateway_interview_silence_prompts", "Words of interviewers in a long silence."
)

_SENTENCE = re.compile(r".+?(?:[.!?][.!?”\"]*\s+|\Z)", re.DOTALL)
_SLOW_SPEECH_WORDS_PER_MINUTE = 100
"""The client may play the turn as speech and does not tell when it ends. The silence begins when
slow speech would have ended."""


class TurnState(StrEnum):
    """What the interviewer does on a socket."""

    IDLE = "idle"
    """Nothing: there is no turn, the candidate answers, or the word in a silence was said."""
    STREAMING = "streaming"
    """It sends the text of its turn at a pace."""
    WAITING = "waiting"
    """It waits for an answer, and says a word after a long silence."""


class InterviewerPresenter:
    """Presents one turn at a time.

    Args:
        send: Sends a frame to the client.
        is_recording: Returns whether live audio arrives. Then silence is not known from the time.
    """

    def __init__(
        self, send: Callable[[ServerFrame], None], is_recording: Callable[[], bool]
    ) -> None:
        self._send = send
        self._is_recording = is_recording
        self._state = TurnState.IDLE
        self._turn: InterviewTurnFrame | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def turn(self) -> InterviewTurnFrame | None:
        """The last turn that was presented, or None."""
        return self._turn

    def present(self, turn: InterviewTurnFrame, words_per_minute: int | None) -> None:
        """Send a turn in pieces, then as a whole, and wait for the answer.

        Without a pace, all of it is sent before this returns.
        """
        self.close()
        self._turn, self._state = turn, TurnState.STREAMING
        pieces: list[str] = _SENTENCE.findall(turn.response)
        if words_per_minute is not None:
            self._task = asyncio.create_task(self._stream(turn, pieces, words_per_minute))
            return
        for piece in pieces:
            self._send(InterviewDeltaFrame(session_id=turn.session_id, text=piece))
        words = 0 if turn.ai_audio_url is None else len(turn.response.split())
        self._end_text(turn, speech_seconds=words * 60 / _SLOW_SPEECH_WORDS_PER_MINUTE)

    def begin_reply(self, session_id: str | None) -> InterviewTurnFrame | None:
        """Stop the text, and say no word in a silence of this turn.

        Return the turn if its text was stopped. It is sent as a whole, so that it can be read.
        `session_id` is the interview that is answered. None: that of the last turn.
        """
        turn, state = self._turn, self._state
        if turn is None or session_id not in (None, turn.session_id):
            return None
        self.close()
        if state is not TurnState.STREAMING:
            return None
        self._send(turn.model_copy(update={"was_interrupted": True}))
        return turn

    def close(self) -> None:
        """Stop the turn without a frame."""
        self._state = TurnState.IDLE
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _stream(
        self, turn: InterviewTurnFrame, pieces: Sequence[str], words_per_minute: int
    ) -> None:
        for piece in pieces:
            self._send(InterviewDeltaFrame(session_id=turn.session_id, text=piece))
            await asyncio.sleep(len(piece.split()) * 60 / words_per_minute)
        self._end_text(turn, speech_seconds=0.0)

    def _end_text(self, turn: InterviewTurnFrame, *, speech_seconds: float) -> None:
        self._send(turn)
        self._state = TurnState.WAITING
        if turn.silence_prompt is not None:
            seconds = speech_seconds + turn.silence_prompt.after_seconds
            self._task = asyncio.create_task(self._wait(turn, turn.silence_prompt, seconds))

    async def _wait(
        self, turn: InterviewTurnFrame, prompt: InterviewSilencePrompt, seconds: float
    ) -> None:
        await asyncio.sleep(seconds)
        if not self._is_recording():
            self._add_word(turn, prompt)

    def _add_word(self, turn: InterviewTurnFrame, prompt: InterviewSilencePrompt) -> None:
        self._state = TurnState.IDLE
        SILENCE_PROMPTS.inc()
        self._send(
            InterviewSilenceFrame(
                session_id=turn.session_id,
                turn_number=turn.turn_number,
                text=prompt.text,
                ai_audio_url=prompt.ai_audio_url,
            )
        )
