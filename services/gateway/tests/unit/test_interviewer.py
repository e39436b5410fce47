"""The interviewer on a socket: when a word is said in a silence, and when not."""

import asyncio
from collections.abc import Sequence

import pytest

from coach_gateway.sockets.frame_base import ServerFrame
from coach_gateway.sockets.interview_frames import InterviewSilencePrompt, InterviewTurnFrame
from coach_gateway.sockets.interviewer import InterviewerPresenter

SESSION_ID = "00000000-0000-7000-8000-000000000000"
OTHER_ID = "00000000-0000-7000-8000-000000000001"
NO_DELAY = InterviewSilencePrompt(after_seconds=0, text="Take your time, I am listening to you.")


def _turn(
    prompt: InterviewSilencePrompt | None = NO_DELAY, audio: str | None = None
) -> InterviewTurnFrame:
    return InterviewTurnFrame(
        session_id=SESSION_ID, response="Good day. Why? Tell me more.", status="in_progress",
        question_count=1, ai_audio_url=audio, silence_prompt=prompt,
    )  # fmt: skip


class Recorder:
    """A presenter whose frames are kept."""

    def __init__(self) -> None:
        self.frames: list[ServerFrame] = []
        self.is_recording = False
        self.presenter = InterviewerPresenter(self.frames.append, lambda: self.is_recording)

    async def settle(self) -> Sequence[str]:
        """Return the types of the frames after every timer without a delay has fired."""
        for _ in range(20):
            await asyncio.sleep(0)
        return [str(getattr(frame, "type", "")) for frame in self.frames]


async def test_word_is_sent_once_after_the_turn() -> None:
    recorder = Recorder()
    recorder.presenter.present(_turn(), None)

    expected = ["interview_delta"] * 3 + ["interview_turn", "interview_silence"]
    assert await recorder.settle() == expected
    assert await recorder.settle() == expected
    assert recorder.presenter.begin_reply(None) is None


@pytest.mark.parametrize("reason", ["answered", "no prompt", "recording", "speech", "closed"])
async def test_no_word_is_sent(reason: str) -> None:
    recorder = Recorder()
    recorder.is_recording = reason == "recording"
    turn = _turn(None if reason == "no prompt" else NO_DELAY, "/x" if reason == "speech" else None)
    recorder.presenter.present(turn, None)
    if reason == "answered":
        assert recorder.presenter.begin_reply(SESSION_ID) is None
    if reason == "closed":
        recorder.presenter.close()

    assert (await recorder.settle())[-1] == "interview_turn"
    recorder.presenter.close()


async def test_silence_is_measured_in_live_audio_once_it_begins() -> None:
    recorder = Recorder()
    prompt = NO_DELAY.model_copy(update={"after_seconds": 20})
    recorder.presenter.present(_turn(prompt), None)
    recorder.presenter.on_recording()
    recorder.presenter.on_silence(SESSION_ID, 99.0)  # a recording may begin with old audio
    assert (await recorder.settle())[-1] == "interview_turn"

    recorder.presenter.present(_turn(), None)
    recorder.presenter.on_recording()
    recorder.presenter.on_silence(OTHER_ID, 99.0)
    assert (await recorder.settle())[-1] == "interview_turn"
    recorder.presenter.on_silence(SESSION_ID, 0.0)
    recorder.presenter.on_silence(SESSION_ID, 99.0)

    assert (await recorder.settle()).count("interview_silence") == 1


async def test_no_word_is_sent_in_the_audio_after_a_reply() -> None:
    recorder = Recorder()
    recorder.is_recording = True
    recorder.presenter.present(_turn(), None)
    recorder.presenter.begin_reply(None)
    recorder.presenter.on_silence(SESSION_ID, 99.0)

    assert (await recorder.settle())[-1] == "interview_turn"


async def test_answer_in_another_interview_stops_nothing() -> None:
    recorder = Recorder()
    recorder.presenter.present(_turn(), 1000)
    await recorder.settle()

    assert recorder.presenter.begin_reply(OTHER_ID) is None
    stopped = recorder.presenter.begin_reply(SESSION_ID)

    assert stopped is not None
    assert await recorder.settle() == ["interview_delta", "interview_turn"]
