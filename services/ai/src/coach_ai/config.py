"""The settings of ai."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from coach_common.config import DatabaseSettings, RabbitMQSettings, StorageSettings, TokenSettings


class AiSettings(DatabaseSettings, TokenSettings, StorageSettings):
    """What ai reads."""

    ai_provider: Literal["openai", "local"] | None = None
    """None: openai where a key is set, else local."""
    openai_api_key: str | None = None
    openai_base_url: str | None = None
    openai_transcribe_model: str = "gpt-transcribe"
    openai_chat_model: str = "gpt-5-mini"
    openai_daily_tokens: int = Field(default=200_000, ge=1)
    """What a person's judgements and chat may take in a day (UTC); then they wait for the next."""
    openai_prices: dict[str, tuple[float, float]] = Field(default={"gpt-5-mini": (0.25, 2.00)})
    """US dollars for a million tokens in and out, by model; what is not named has no known cost.

    gpt-5-mini's: developers.openai.com/api/docs/models/gpt-5-mini, read 25 November 2026."""
    openai_scorings: int = Field(default=1, ge=1, le=9)
    """How often an answer is scored; the scoring in the middle counts, and the spread is told."""
    chat_history_tokens: int = Field(default=4000, ge=200)
    """How much of a conversation a coach is given word for word; what is older is summarised."""
    speech_fallback: Literal["openai", "local"] | None = None
    """Who transcribes while the first provider cannot; None: nobody, the recording waits."""
    speech_model_dir: Path | None = None
    local_embeddings: bool = True
    """Whether the local coach uses sentence embeddings where their package is installed."""
    embeddings_model_dir: Path | None = None
    """Where they are; None: in the package."""
    service_token: str = ""
    """What the gateway shows for `/internal/live`; without it there is no live audio."""
    live_dir: Path | None = None
    """Where live recordings are kept while they are spoken; None: among the temporary files."""
    transcription_workers: int = Field(default=1, ge=0)
    feedback_workers: int = Field(default=2, ge=0)

    @field_validator("embeddings_model_dir")
    @classmethod
    def _with_a_model(cls, folder: Path | None) -> Path | None:
        if folder is not None and not (folder / "model.safetensors").is_file():
            raise ValueError("has no model.safetensors in it")
        return folder

    @property
    def uses_openai(self) -> bool:
        """Which provider works."""
        if self.ai_provider is None:
            return bool(self.openai_api_key)
        return self.ai_provider == "openai"


class DistributedAiSettings(AiSettings, RabbitMQSettings):
    """The same, over RabbitMQ."""
