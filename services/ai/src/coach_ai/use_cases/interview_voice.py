"""Use case: what the interviewer says as speech."""

import asyncio
import hashlib
import json
from uuid import UUID

from prometheus_client import Counter

from coach_ai.deps import Deps
from coach_ai.interview.silence import write_silence_prompt
from coach_ai.ports import Voice
from coach_ai.store import interviews
from coach_ai.use_cases.budget import reserve_budget
from coach_ai.voice.shared_sentences import load_shared_sentences, split_sentences
from coach_ai.voice.speech import InvalidSpeech, Speech, VoiceName, encode_wav
from coach_common import logs
from coach_common.errors import NotFound, Unavailable
from coach_common.identity import Identity

log = logs.get_logger(__name__)

SENTENCES = Counter(
    "coach_ai_spoken_sentences",
    "Sentences of the interviewer that were spoken: from the cache, or by the voice.",
    ["source"],
)

FALLBACKS = Counter(
    "coach_ai_voice_fallbacks", "Texts that the fallback voice spoke, because the voice failed."
)

_MAX_CACHED_BYTES = 8 * 1024**2
_CONTENT_TYPE = "audio/wav"


class TurnNotFound(NotFound):
    """The interview has no turn with this number."""

    code = "turn_not_found"

    def __init__(self) -> None:
        super().__init__("The interview has no such turn.")


class VoiceNotInstalled(NotFound):
    """This server has no voice."""

    code = "voice_not_installed"

    def __init__(self) -> None:
        super().__init__("This server has no voice. Please show the text.")


async def speak_turn(
    deps: Deps,
    caller: Identity,
    interview_id: UUID,
    number: int,
    *,
    voice: VoiceName,
    speed: float,
) -> bytes:
    """Return the interviewer's words of a turn as a WAV file.

    Sentences that ship with the service are read from the object store, or stored there by their
    text, voice, speed and model. Other sentences may quote the candidate and are never stored.

    Raises:
        InterviewNotFound: If it does not exist or belongs to another user.
        TurnNotFound: If the interview has no such turn.
        VoiceNotInstalled: If the server has no voice.
        TooManyRequests: If the caller's daily token budget is spent.
        Unavailable: If the voice fails.
    """
    if deps.voice is None:
        raise VoiceNotInstalled
    async with deps.db.read_only() as tx:
        await interviews.get_interview(tx, interview_id, user_id=caller.user_id)
        turns = await interviews.list_turns(tx, interview_id)
    turn = next((one for one in turns if one.number == number), None)
    if turn is None:
        raise TurnNotFound
    return await _speak_text(deps, caller, turn.response, voice, speed)


async def speak_silence_prompt(
    deps: Deps, caller: Identity, interview_id: UUID, *, voice: VoiceName, speed: float
) -> bytes:
    """Return what the interviewer says in a silence as a WAV file.

    Raises:
        InterviewNotFound: If it does not exist or belongs to another user.
        VoiceNotInstalled: If the server has no voice.
        TooManyRequests: If the caller's daily token budget is spent.
        Unavailable: If the voice fails.
    """
    if deps.voice is None:
        raise VoiceNotInstalled
    async with deps.db.read_only() as tx:
        interview = await interviews.get_interview(tx, interview_id, user_id=caller.user_id)
    text = write_silence_prompt(interview)
    return await _speak_text(deps, caller, text, voice, speed)


async def _speak_text(
    deps: Deps, caller: Identity, text: str, voice: VoiceName, speed: float
) -> bytes:
    """Return a text as a WAV file, by one voice, or all of it by the fallback if that fails."""
    if deps.voice is None:
        raise VoiceNotInstalled
    try:
        return await _speak_sentences(deps, deps.voice, caller, text, voice, speed)
    except Unavailable:
        if deps.fallback_voice is None:
            raise
    FALLBACKS.inc()
    return await _speak_sentences(deps, deps.fallback_voice, caller, text, voice, speed)


async def _speak_sentences(
    deps: Deps, provider: Voice, caller: Identity, text: str, voice: VoiceName, speed: float
) -> bytes:
    shared = await asyncio.to_thread(load_shared_sentences)
    parts = []
    for sentence in split_sentences(text):
        key = None
        if sentence in shared:
            key = _build_cache_key(sentence, voice, speed, await provider.get_model())
        parts.append(await _speak(deps, provider, caller, sentence, voice, speed, key))
    return await asyncio.to_thread(encode_wav, parts)


async def _speak(
    deps: Deps,
    provider: Voice,
    caller: Identity,
    sentence: str,
    voice: VoiceName,
    speed: float,
    key: str | None,
) -> Speech:
    """Return a spoken sentence, from the cache if `key` names an object there."""
    if key is not None and (cached := await _find_cached(deps, key)) is not None:
        SENTENCES.labels("cache").inc()
        return cached
    max_tokens = provider.max_tokens_needed(sentence)
    async with reserve_budget(deps, caller.user_id, "voice", max_tokens) as usage:
        speech = await provider.speak(sentence, voice, speed, usage)
    SENTENCES.labels("voice").inc()
    if key is not None:
        try:
            await deps.objects.put(key, encode_wav([speech]), content_type=_CONTENT_TYPE)
        except Unavailable as error:
            log.warning("voice.not_cached", code=error.code)
    return speech


async def _find_cached(deps: Deps, key: str) -> Speech | None:
    """Return cached speech, or None if there is none or the store does not respond."""
    try:
        data, _ = await deps.objects.read_prefix(key, length=_MAX_CACHED_BYTES)
        return Speech.from_wav(data)
    except (NotFound, Unavailable, InvalidSpeech):
        return None


def _build_cache_key(sentence: str, voice: VoiceName, speed: float, model: str) -> str:
    identity = json.dumps([sentence, voice, speed, model])
    return f"voice/{hashlib.sha256(identity.encode()).hexdigest()}.wav"
