"""What is known of a recording and of an answer. Plain Python: no I/O, no clock, no framework."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from coach_common.errors import CoachError


class CannotTranscribe(CoachError):
    """This recording will never have words: no speech, unreadable, refused. Do not try again."""

    code = "cannot_transcribe"


class CannotJudge(CoachError):
    """The provider will never judge this answer (it refused). Do not try again."""

    code = "cannot_judge"


@dataclass(frozen=True, slots=True)
class Word:
    """One word as it was said; `start` and `end` in seconds from the recording's start."""

    text: str
    start: float
    end: float
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """A stretch without voice, by the audio's energy, in seconds from the recording's start."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class PitchWindow:
    """The pitch of up to 10 s: mean and standard deviation over its voiced frames of 10 ms."""

    start: float
    mean_hz: float
    sd_hz: float
    frames: int


@dataclass(frozen=True, slots=True)
class Hum:
    """A stretch whose pitch and spectrum stand still: a held vowel, in a word or between words.

    `flux` is the mean change of its spectrum within 100 ms, in dB."""

    start: float
    end: float
    flux: float


@dataclass(frozen=True, slots=True)
class Sound:
    """What was measured on the audio itself, once, when it was decoded.

    Levels are RMS in dB below full scale (None of an empty track): the median of the frames with
    voice, and the 5th percentile of all. `clipped` is the share of samples at full scale."""

    speech_dbfs: float | None
    noise_dbfs: float | None
    clipped: float
    pitch: tuple[PitchWindow, ...]
    hums: tuple[Hum, ...]

    @classmethod
    def of(cls, stored: dict[str, Any]) -> "Sound":
        """Return what `asdict` and JSON made of it."""
        pitch = tuple(PitchWindow(**window) for window in stored["pitch"])
        hums = tuple(Hum(**hum) for hum in stored["hums"])
        return cls(**stored | {"pitch": pitch, "hums": hums})


@dataclass(frozen=True, slots=True)
class SoundTrack:
    """What a recording's sound tells before any of its words is known."""

    duration_seconds: float
    silences: tuple[Silence, ...]
    sound: Sound

    @classmethod
    def of(cls, said: dict[str, Any]) -> "SoundTrack":
        """Return what `asdict` and JSON made of it."""
        silences = tuple(Silence(**silence) for silence in said["silences"])
        return cls(said["duration_seconds"], silences, Sound.of(said["sound"]))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the transcription of a long recording has come."""

    done_seconds: float
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words of a recording. `words` is empty where the provider gave no times;
    `silences` and `sound` are None where the audio was not looked at."""

    text: str
    language: str
    duration_seconds: float
    provider: str
    model: str
    words: tuple[Word, ...] = ()
    silences: tuple[Silence, ...] | None = None
    sound: Sound | None = None

    @classmethod
    def of(cls, stored: dict[str, Any]) -> "Transcript":
        """Return what `asdict` and JSON made of a transcript."""
        words = tuple(Word(**word) for word in stored["words"])
        quiet = stored["silences"]
        silences = None if quiet is None else tuple(Silence(**silence) for silence in quiet)
        measured = stored.get("sound")
        sound = None if measured is None else Sound.of(measured)
        return cls(**stored | {"words": words, "silences": silences, "sound": sound})


CLEAR_PROBABILITY = 0.75
"""Mean over the words. Read speech has 0.94; in noise, under this, 4 words of 10 and more were
wrong (docs/feedback.md)."""

UNCLEAR = (
    "Not enough to judge: the audio is unclear, and too much of the transcript may be wrong. Try"
    " again closer to the microphone, in a quieter place."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is judged: an answer to a question. A client's own text has no words and no times."""

    title: str
    question: str | None
    text: str
    language: str | None = None
    duration_seconds: float | None = None
    words: tuple[Word, ...] = ()
    silences: tuple[Silence, ...] | None = None
    sound: Sound | None = None

    @property
    def is_unclear(self) -> bool:
        """Tell whether the recogniser doubts its own words too much to judge anybody by them."""
        sure = [word.probability for word in self.words if word.probability is not None]
        return bool(sure) and statistics.fmean(sure) < CLEAR_PROBABILITY


@dataclass(frozen=True, slots=True)
class Claim:
    """One remark with the words it rests on. `quote` stands in the transcript; the times are
    None where the transcript has none."""

    kind: str
    """`strength` or `improvement`."""
    dimension: str
    text: str
    quote: str
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class MainImprovement:
    """The one thing to work on, the words that show it, and how to practise it."""

    text: str
    quote: str
    drill: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """A judged answer. A score (0 to 100) is None where it could not be judged, and
    `detailed_feedback` then says why. `delivery` is JSON: metric name to its measurement.
    `star` holds each part of a story with the words that tell it, None where it is missing; it is
    empty where no story was asked for or nothing was judged."""

    overall_score: int | None
    communication_score: int | None
    technical_score: int | None
    clarity_score: int | None
    claims: tuple[Claim, ...]
    detailed_feedback: str
    provider: str
    model: str
    rubric_version: str
    delivery: dict[str, Any] = field(default_factory=dict)
    main_improvement: MainImprovement | None = None
    star: dict[str, str | None] = field(default_factory=dict)
    prompt_version: str | None = None
    """Of what a language model was told, where there was one."""

    def remarks(self, kind: str) -> list[str]:
        """Return the texts of the claims of one kind."""
        return [claim.text for claim in self.claims if claim.kind == kind]

    def evidence(self) -> list[dict[str, Any]]:
        """Return the claims as the API shows them."""
        return [asdict(claim) for claim in self.claims]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is `user` or `assistant`."""

    role: str
    text: str
    id: UUID | None = None
    said_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PastSession:
    """What the coach knows of a session that was judged."""

    title: str
    overall_score: int | None
    improvements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as its list shows it."""

    id: UUID
    title: str
    created_at: datetime
    updated_at: datetime
    summary: str = ""
    summarised_to: UUID | None = None
    """The last message that `summary` stands for."""


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """A page of conversations; `next_before` is where the next one begins."""

    conversations: list[Conversation]
    next_before: tuple[datetime, UUID] | None


@dataclass(frozen=True, slots=True)
class MessagePage:
    """A conversation with a page of its messages, oldest first; `next_before` leads back."""

    conversation: Conversation
    messages: list[Message]
    next_before: UUID | None


@dataclass(frozen=True, slots=True)
class Talk:
    """What a coach is given to reply to: the last message is the person's."""

    messages: tuple[Message, ...]
    past: tuple[PastSession, ...] = ()
    summary: str = ""
    """Of what was said before `messages`."""

    @property
    def asked(self) -> str:
        """What the person just said."""
        return self.messages[-1].text


def title_of(message: str) -> str:
    """Return the first words of a message, 80 characters at most."""
    line = " ".join(message.split())
    return line if len(line) <= 80 else f"{line[:79].rsplit(' ', 1)[0]}…"


def tokens_in(text: str) -> int:
    """Return about how many tokens a text has, rather too many: three bytes of UTF-8 each.

    OpenAI's rule of thumb for English is four characters a token; other scripts have fewer.
    """
    return len(text.encode()) // 3 + 4


def split_by_budget(
    messages: Sequence[Message], budget: int
) -> tuple[Sequence[Message], Sequence[Message]]:
    """Return what must be summarised and what may stay as it was said.

    Nothing is summarised while all fits; then half of the budget is kept free for what follows.
    """
    if sum(tokens_in(message.text) for message in messages) <= budget:
        return (), messages
    room, first = budget // 2, len(messages)
    while first and tokens_in(messages[first - 1].text) <= room:
        first -= 1
        room -= tokens_in(messages[first].text)
    return messages[:first], messages[first:]


def extract(summary: str, messages: Sequence[Message], *, budget: int) -> str:
    """Return a summary without a model: how each turn begins, the newest where room is short."""
    lines = summary.splitlines()
    for message in messages:
        who = "Asked" if message.role == "user" else "Told"
        lines.append(f"{who}: {title_of(message.text)}")
    kept: list[str] = []
    for line in reversed(lines):
        budget -= tokens_in(line)
        if budget < 0:
            break
        kept.append(line)
    return "\n".join(reversed(kept))


LEASE = timedelta(seconds=30)
RENEWAL_SECONDS = 10.0
MAX_CLAIMS = 3
"""Claims without an outcome (the worker died each time) until a job is given up."""
RETRIED_FOR = timedelta(hours=24)
"""How long a provider that is down is tried."""

_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 15 * 60.0


class JobKind(StrEnum):
    """The two slow things."""

    TRANSCRIPTION = "transcription"
    FEEDBACK = "feedback"


@dataclass(frozen=True, slots=True)
class Job:
    """A slow thing to do, held by a lease while a worker does it."""

    id: UUID
    kind: JobKind
    subject_id: UUID
    user_id: UUID
    created_at: datetime
    lease_token: UUID
    claims: int
    tries: int
    reason: str | None

    def pause(self, jitter: float) -> timedelta:
        """Return the pause before the next try: doubling from 2 s to 15 min, less a quarter at
        most (`jitter`, 0 to 1), so that many do not come back at once."""
        seconds = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0**self.tries)
        return timedelta(seconds=seconds * (1 - jitter / 4))


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording to transcribe, bound to the bytes that were confirmed."""

    upload_id: UUID
    user_id: UUID
    key: str
    session_id: UUID | None
    etag: str
    size_bytes: int
    transcript: Transcript | None = None
    has_failed: bool = False


@dataclass(frozen=True, slots=True)
class CompletedSession:
    """A session whose answer is to be judged once its words are known."""

    session_id: UUID
    user_id: UUID
    title: str
    question: str | None
    duration_seconds: int | None
    audio_s3_key: str | None
    client_transcript: str | None
    is_judged: bool = False

    def answer(self, recording: Recording | None) -> Answer | None:
        """Return what to judge, or None while its words are not known.

        The recording's words where one is named; the client's own where none is, or where it
        will never have any.
        """
        if recording is not None and recording.transcript is not None:
            heard = recording.transcript
            return Answer(
                title=self.title,
                question=self.question,
                text=heard.text,
                language=heard.language,
                duration_seconds=heard.duration_seconds,
                words=heard.words,
                silences=heard.silences,
                sound=heard.sound,
            )
        is_hopeless = recording is not None and recording.has_failed
        if self.client_transcript and (self.audio_s3_key is None or is_hopeless):
            return Answer(
                title=self.title,
                question=self.question,
                text=self.client_transcript,
                duration_seconds=self.duration_seconds,
            )
        return None
