"""What is known about the session of a live recording before its audio arrives."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from coach_ai.deps import Deps
from coach_ai.speech.live_dialogue import LiveDialogue
from coach_ai.speech.recording_file import RecordingInfo
from coach_ai.use_cases.recognition_prompt import build_session_prompt, find_spoken_texts
from coach_common.errors import Unavailable


@dataclass(frozen=True, slots=True)
class LiveContext:
    """What is known about the session of a recording. `dialogue` is None if it is no interview."""

    prompt: str = ""
    dialogue: LiveDialogue | None = None
    reports_silence: bool = False

    async def is_reply(self, text: str) -> bool:
        """Return whether a text answers an interview."""
        return self.dialogue is not None and await asyncio.to_thread(self.dialogue.is_reply, text)


async def load_live_context(
    deps: Deps, info: RecordingInfo, frame: Mapping[str, Any]
) -> LiveContext:
    """Return what is known about the session, or nothing if it cannot be read."""
    try:
        session_id = UUID(info.session_id) if info.session_id is not None else None
        async with deps.db.read_only() as tx:
            prompt = await build_session_prompt(tx, session_id, user_id=info.user_id)
            texts = await find_spoken_texts(tx, session_id, user_id=info.user_id)
    except Unavailable:
        return LiveContext()  # The recording matters more than its partial texts.
    return LiveContext(
        prompt,
        None if texts is None else LiveDialogue(texts),
        reports_silence=frame.get("reports_silence") is True,
    )
