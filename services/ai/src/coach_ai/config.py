"""The settings of ai."""

import socket
import uuid
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from coach_common.config import (
    DatabaseSettings,
    RabbitMQSettings,
    RepairSettings,
    StorageSettings,
    TokenSettings,
)
from coach_common.setting_types import HttpUrl

_REMOTE_WORKERS = 4
"""Calls to a provider at the same time, so that a slow one does not delay the others."""


def has_local_providers() -> bool:
    """Return whether the packages of the local providers are installed: coach-ai[local]."""
    return find_spec("faster_whisper") is not None


class AiSettings(DatabaseSettings, TokenSettings, StorageSettings, RepairSettings):
    """Settings of ai, read from the environment."""

    ai_provider: Literal["openai", "local"] | None = None
    """Provider of transcription, feedback and chat. None: OpenAI if a key is set, else local."""
    speech_provider: Literal["openai", "local"] | None = None
    """Provider of transcription, if it differs from AI_PROVIDER."""
    voice_provider: Literal["openai", "local", "piper", "none"] | None = None
    """Provider of the interviewer's voice. None: OpenAI if AI_PROVIDER is, else local. The local
    voice needs the program espeak-ng; without it there is no voice. piper: the program piper with
    the voice PIPER_VOICE, and the local voice if it is missing or fails. none: no voice."""
    piper_program: str = "piper"
    """Name or path of the program piper. It runs in a separate process."""
    piper_voice: Path | None = None
    """The ONNX file of a voice for piper. Its JSON file is beside it."""
    openai_api_key: str | None = None
    """Key of the OpenAI API. A compatible server may need none."""
    openai_base_url: HttpUrl | None = None
    """URL of a server that is compatible with OpenAI. None: OpenAI. See docs/providers.md."""
    openai_transcribe_base_url: HttpUrl | None = None
    """URL of the server that transcribes, if it differs from OPENAI_BASE_URL."""
    openai_transcribe_model: str = "gpt-transcribe"
    """OpenAI model for transcription."""
    openai_chat_model: str = "gpt-5-mini"
    """OpenAI model for scoring and chat."""
    interview_silence_seconds: int = Field(default=20, ge=0, le=300)
    """How long a silence may last in an interview before the interviewer says a gentle word, for
    users who have not chosen. 0: it says none."""
    openai_voice_model: str = "gpt-4o-mini-tts"
    """OpenAI model for the interviewer's voice."""
    openai_timeout_seconds: float = Field(default=120.0, gt=0)
    """Deadline of one call to OpenAI or a compatible server, with its retries."""
    openai_daily_tokens: int = Field(default=200_000, ge=1)
    """Most tokens per user and UTC day, for transcription, feedback and chat together."""
    openai_prices: dict[str, tuple[float, float]] = Field(default={"gpt-5-mini": (0.25, 2.00)})
    """US dollars per million input and output tokens, by model. Other models have no known cost.

    Source: developers.openai.com/api/docs/models/gpt-5-mini, read on 25 November 2026."""
    openai_scorings: int = Field(default=1, ge=1, le=9)
    """How many times an answer is scored. The median counts, and the feedback states the range."""
    chat_history_tokens: int = Field(default=4000, ge=200)
    """Tokens of a conversation that the coach receives verbatim. Older messages are summarised."""
    outside_provider_consent: Literal["opt_in", "opt_out"] = "opt_out"
    """Whether OpenAI is called for users who have not decided about it. opt_out: until they
    withdraw. opt_in: after they have agreed. See docs/privacy.md."""
    speech_fallback: Literal["openai", "local"] | None = None
    """Provider that transcribes while the first one is unavailable. None: recordings wait."""
    speech_model_dir: Path | None = None
    """Directory of the Whisper model. None: the installed model."""
    local_embeddings: bool = True
    """Whether the local scorer and chat use sentence embeddings if their package is installed."""
    embeddings_model_dir: Path | None = None
    """Directory of the embedding model. None: the installed package."""
    service_token: str = ""
    """Token that the gateway presents on `/internal/live`. Empty: live recordings are disabled."""
    temp_dir: Path | None = None
    """Directory of recordings while they are transcribed. None: one for temporary files."""
    live_dir: Path | None = None
    """Directory of live recordings in progress. It must survive a restart of the process, and
    only one account may own it. None: a temporary directory, which a container loses."""
    instance_id: str | None = Field(default=None, max_length=128)
    """Name of this replica, unique among running replicas and kept across restarts. A new process
    continues the jobs of the stopped process with the same name. None: host name and port."""
    transcription_workers: int | None = Field(default=None, ge=0)
    """Recordings that are transcribed at the same time, locally each in its own process.
    None: 4 with OpenAI, else 1."""
    feedback_workers: int | None = Field(default=None, ge=0)
    """Sessions that are scored at the same time. None: 4 with OpenAI, else 2."""

    @field_validator("embeddings_model_dir")
    @classmethod
    def _require_model(cls, directory: Path | None) -> Path | None:
        if directory is not None and not (directory / "model.safetensors").is_file():
            raise ValueError("has no model.safetensors in it")
        return directory

    @model_validator(mode="after")
    def _require_piper_voice(self) -> Self:
        if self.voice_provider == "piper" and self.piper_voice is None:
            raise ValueError("PIPER_VOICE: needed with VOICE_PROVIDER=piper; run make voice-piper")
        return self

    @model_validator(mode="after")
    def _require_local_packages(self) -> Self:
        selection = self._find_local_selection()
        if selection is not None and not has_local_providers():
            setting, remedy = selection
            raise ValueError(
                f"{setting}: local needs the package coach-ai[local]; install it, or {remedy}"
            )
        return self

    def _find_local_selection(self) -> tuple[str, str] | None:
        """Return a setting that selects a local provider, and how to avoid it; None if none does.

        An unset AI_PROVIDER selects it if there is no key.
        """
        if not self.uses_openai:
            return "AI_PROVIDER", "set AI_PROVIDER=openai or OPENAI_API_KEY"
        if not self.uses_openai_speech:
            return "SPEECH_PROVIDER", "set SPEECH_PROVIDER=openai"
        return ("SPEECH_FALLBACK", "unset it") if self.speech_fallback == "local" else None

    @property
    def effective_instance_id(self) -> str:
        """The name of this replica. Without a fixed port it is unique to this process."""
        if self.instance_id is not None:
            return self.instance_id
        # Two running processes of a host cannot have the same port.
        return f"{socket.gethostname()[:100]}:{self.port or uuid.uuid4().hex[:16]}"

    @property
    def uses_openai(self) -> bool:
        """Whether OpenAI is the provider."""
        if self.ai_provider is None:
            return bool(self.openai_api_key)
        return self.ai_provider == "openai"

    @property
    def uses_openai_speech(self) -> bool:
        """Whether OpenAI transcribes."""
        if self.speech_provider is None:
            return self.uses_openai
        return self.speech_provider == "openai"

    @property
    def uses_openai_voice(self) -> bool:
        """Whether OpenAI speaks."""
        if self.voice_provider is None:
            return self.uses_openai
        return self.voice_provider == "openai"

    @property
    def calls_outside_provider(self) -> bool:
        """Whether any setting selects OpenAI or a compatible server."""
        return (
            self.uses_openai
            or self.uses_openai_speech
            or self.uses_openai_voice
            or self.speech_fallback == "openai"
        )

    @property
    def transcriptions_at_once(self) -> int:
        """Recordings that are transcribed at the same time."""
        if self.transcription_workers is None:
            return _REMOTE_WORKERS if self.uses_openai_speech else 1
        return self.transcription_workers

    @property
    def scorings_at_once(self) -> int:
        """Sessions that are scored at the same time."""
        if self.feedback_workers is None:
            return _REMOTE_WORKERS if self.uses_openai else 2
        return self.feedback_workers


class DistributedAiSettings(AiSettings, RabbitMQSettings):
    """Settings of ai in the distributed profile."""
