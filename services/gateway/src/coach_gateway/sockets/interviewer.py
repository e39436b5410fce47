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
    """Nothing: there is no turn, the candidate answers, or the word in a silence was added."""
    STREAMING = "streaming"
    """It sends the text of its turn at a pace."""
    WAITING = "waiting"
    """It waits for an answer, and adds a word after some time."""
    LISTENING = "listening"
    """Live audio arrives. It adds a word after a long silence in it."""


class InterviewerPresenter:
    """Presents one turn at a time.

    Args:
        send: Sends a frame to the client.
        is_recording: Returns whether live audio arrives.
    """

    def __init__(
        self, send: Callable[[ServerFrame], None], is_recording: Callable[[], bool]
    ) -> None:
        self._send = send
        self._is_recording = is_recording
        self._state = TurnState.IDLE
        self._turn: InterviewTurnFrame | None = None
        self._due_at = 0.0
        """Loop time before which no word is added."""
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

    def is_streaming(self, session_id: str) -> bool:
        """Return whether the text of a turn of this interview is being sent."""
        is_this = self._turn is not None and self._turn.session_id == session_id
        return is_this and self._state is TurnState.STREAMING

    def on_recording(self) -> None:
        """Measure the silence in the live audio that begins, and no longer by the time."""
        if self._state is TurnState.WAITING:
            self.close()
            self._state = TurnState.LISTENING

    def on_silence(self, session_id: str, seconds: float) -> None:
        """Add the word of this turn if live audio was silent for long enough."""
        turn = self._turn
        if self._state is not TurnState.LISTENING or turn is None or turn.silence_prompt is None:
            return
        is_due = asyncio.get_running_loop().time() >= self._due_at
        is_long = seconds >= turn.silence_prompt.after_seconds
        if session_id == turn.session_id and is_due and is_long:
            self._add_word(turn, turn.silence_prompt)

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
        self._state = TurnState.LISTENING if self._is_recording() else TurnState.WAITING
        if turn.silence_prompt is None:
            return
        seconds = speech_seconds + turn.silence_prompt.after_seconds
        self._due_at = asyncio.get_running_loop().time() + seconds
        if self._state is TurnState.WAITING:
            self._task = asyncio.create_task(self._wait(turn, turn.silence_prompt, seconds))

    async def _wait(
        self, turn: InterviewTurnFrame, prompt: InterviewSilencePrompt, seconds: float
    ) -> None:
        await asyncio.sleep(seconds)
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
