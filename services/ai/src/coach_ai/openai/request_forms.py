"""The forms of a request, from the richest to the plainest, remembered for each server.

A server that refuses a part of a request gets the request again without it. The form that it
accepts is used from then on, until the process ends.
"""

from dataclasses import dataclass, replace
from typing import Generic, Protocol, Self, TypeVar
from urllib.parse import urlsplit

from prometheus_client import Counter

from coach_ai.openai.refusals import Feature
from coach_common import logs

log = logs.get_logger(__name__)

PLAINER_FORMS = Counter(
    "coach_ai_provider_plainer_forms",
    "Request forms that a server accepted after it refused a richer one.",
    ["operation", "form"],
)

MAX_CHUNK_SECONDS = 590.0
"""2.4 MB of Opus or 19 MB of WAV. OpenAI's limit is 25 MB, vLLM's default limit is 600 s."""
MIN_CHUNK_SECONDS = 30.0

_OPENAI_HOSTS = (".openai.com", ".openai.azure.com")


class RequestForm(Protocol):
    """How a request is written."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """The features that can still be simplified, the most suspect first."""

    @property
    def name(self) -> str:
        """The form in one word for each feature, for logs and metrics."""

    def simplify(self, feature: Feature) -> Self:
        """Return the form with less of this feature, which must be in `features`."""


FormT = TypeVar("FormT", bound=RequestForm)


@dataclass(frozen=True, slots=True)
class ChatForm:
    """How a chat completion is requested."""

    response_formats: tuple[str, ...] = ("json_schema", "json_object", "none")
    """The format to send, then those to try if the server refuses it."""
    token_limits: tuple[str, ...] = ("max_completion_tokens", "max_tokens", "none")
    """The parameter of the token limit to send, then those to try."""
    has_temperature: bool = True
    has_stream_options: bool = True
    has_system_role: bool = True

    @property
    def features(self) -> tuple[Feature, ...]:
        """The features that can still be simplified, the most suspect first."""
        return tuple(
            feature
            for feature, is_used in (
                (Feature.RESPONSE_FORMAT, len(self.response_formats) > 1),
                (Feature.TOKEN_LIMIT, len(self.token_limits) > 1),
                (Feature.TEMPERATURE, self.has_temperature),
                (Feature.STREAM_OPTIONS, self.has_stream_options),
                (Feature.SYSTEM_ROLE, self.has_system_role),
            )
            if is_used
        )

    @property
    def name(self) -> str:
        """The form in one word for each feature."""
        words = [self.response_formats[0], self.token_limits[0]]
        words += ["no_temperature"] * (not self.has_temperature)
        words += ["no_stream_options"] * (not self.has_stream_options)
        words += ["no_system_role"] * (not self.has_system_role)
        return ",".join(words)

    def simplify(self, feature: Feature) -> "ChatForm":
        """Return the form with less of this feature, which must be in `features`."""
        match feature:
            case Feature.RESPONSE_FORMAT:
                return replace(self, response_formats=self.response_formats[1:])
            case Feature.TOKEN_LIMIT:
                return replace(self, token_limits=self.token_limits[1:])
            case Feature.TEMPERATURE:
                return replace(self, has_temperature=False)
            case Feature.STREAM_OPTIONS:
                return replace(self, has_stream_options=False)
            case _:
                return replace(self, has_system_role=False)


@dataclass(frozen=True, slots=True)
class SpeechForm:
    """How a transcription is requested."""

    has_word_times: bool = True
    has_prompt: bool = True
    is_wav: bool = False
    """The audio is sent as WAV instead of Opus in Ogg, which some servers cannot decode."""
    chunk_seconds: float = MAX_CHUNK_SECONDS
    """Longest audio of one request."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """The features that can still be simplified, the most suspect first."""
        return (Feature.WORD_TIMES,) * self.has_word_times + (Feature.PROMPT,) * self.has_prompt

    @property
    def name(self) -> str:
        """The form in one word for each feature."""
        words = ["verbose_json" if self.has_word_times else "json"]
        words += ["no_prompt"] * (not self.has_prompt)
        words += ["wav"] * self.is_wav
        words += [f"{self.chunk_seconds:.0f}s"] * (self.chunk_seconds < MAX_CHUNK_SECONDS)
        return ",".join(words)

    def simplify(self, feature: Feature) -> "SpeechForm":
        """Return the form with less of this feature, which must be in `features`."""
        if feature is Feature.WORD_TIMES:
            return replace(self, has_word_times=False)
        return replace(self, has_prompt=False)

    def shorten(self) -> "SpeechForm | None":
        """Return the form with chunks of half the length, or None if they are short already."""
        if self.chunk_seconds / 2 < MIN_CHUNK_SECONDS:
            return None
        return replace(self, chunk_seconds=self.chunk_seconds / 2)


def first_chat_form(base_url: str | None) -> ChatForm:
    """Return the richest form for this server.

    Compatible servers get `max_tokens` first: some ignore `max_completion_tokens` without an error,
    and their responses would have no limit.
    """
    form = ChatForm()
    if is_openai(base_url):
        return form
    return replace(form, token_limits=("max_tokens", "max_completion_tokens", "none"))


def first_speech_form(model: str, chunk_seconds: float = MAX_CHUNK_SECONDS) -> SpeechForm:
    """Return the richest form for this model. Only Whisper models return word times."""
    return SpeechForm(has_word_times="whisper" in model.lower(), chunk_seconds=chunk_seconds)


def is_openai(base_url: str | None) -> bool:
    """Return whether a base URL is OpenAI's own API, or Azure's."""
    return base_url is None or f".{urlsplit(base_url).hostname}".endswith(_OPENAI_HOSTS)


def simplify(form: FormT, blamed: frozenset[Feature], used: frozenset[Feature]) -> FormT | None:
    """Return the form to try after a refusal, or None if the request has no plainer form.

    Simplifies the features that the server blamed. If it blamed none that the request has, the most
    suspect one. `used` are the features that matter for this request.
    """
    features = [feature for feature in form.features if feature in used]
    for feature in [one for one in features if one in blamed] or features[:1]:
        form = form.simplify(feature)
    return form if features else None


_REMEMBERED: dict[tuple[str, str | None, str], RequestForm] = {}
"""The accepted form by operation, base URL and model."""


class FormMemory(Generic[FormT]):
    """The form that a server accepts, shared by all adapters of this process."""

    def __init__(self, operation: str, base_url: str | None, model: str, first: FormT) -> None:
        self._key = (operation, base_url, model)
        self._operation = operation
        self._first = first

    def get(self) -> FormT:
        """Return the accepted form, or the richest one before the first request."""
        return _REMEMBERED.get(self._key, self._first)  # type: ignore[return-value]

    def remember(self, form: FormT) -> None:
        """Store a form that the server accepted."""
        if form == self.get():
            return
        _REMEMBERED[self._key] = form
        PLAINER_FORMS.labels(self._operation, form.name).inc()
        log.warning("openai.request_form_changed", operation=self._operation, form=form.name)
