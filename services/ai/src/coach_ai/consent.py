"""Whether an outside provider may be called for the user of a request or job.

The value is kept in the context of the request or job, so that the one place that calls a provider
can check it. Commands that call a provider for no user, such as benchmarks, are not restricted.
"""

from contextvars import ContextVar
from dataclasses import dataclass

from coach_common.errors import Forbidden

_is_allowed: ContextVar[bool] = ContextVar("is_outside_provider_allowed", default=True)


class ConsentRequired(Forbidden):
    """The user has not agreed that an outside provider is called, and nothing else can be used."""

    code = "consent_required"

    def __init__(self) -> None:
        super().__init__(
            "This needs a provider outside of this service. Please agree to it in your privacy "
            "settings."
        )


@dataclass(frozen=True, slots=True)
class ConsentPolicy:
    """Whether an outside provider is configured, and what counts without a decision."""

    has_outside_provider: bool = False
    is_opt_in: bool = False
    """True: a user who has not decided has not agreed. False: has agreed until withdrawal."""


def set_outside_provider_allowed(is_allowed: bool) -> None:
    """Allow or forbid the outside provider for the rest of this request or job."""
    _is_allowed.set(is_allowed)


def is_outside_provider_allowed() -> bool:
    """Return whether an outside provider may be called in this request or job."""
    return _is_allowed.get()


def require_outside_provider() -> None:
    """Raise ConsentRequired unless an outside provider may be called."""
    if not _is_allowed.get():
        raise ConsentRequired


def current_provider(configured: str) -> str:
    """Return the name of the provider that this request or job uses."""
    return configured if _is_allowed.get() else "local"
