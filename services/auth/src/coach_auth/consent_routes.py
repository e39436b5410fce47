"""The routes of consents, with their bodies."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from coach_auth import consent_store
from coach_auth.deps import Deps
from coach_auth.use_cases import consents
from coach_common.events.consents import Purpose
from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.dependencies import CurrentUser, inject_deps

router = APIRouter(prefix="/auth/me/consents", tags=["privacy"], route_class=RetryOnConflictRoute)

AuthDeps = Annotated[Deps, inject_deps(Deps)]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,32}$")]

_EXAMPLE: dict[str, JsonValue] = {
    "purpose": "outside_provider", "is_given": True, "version": "2026-11",
}  # fmt: skip


class ConsentDecision(BaseModel):
    """A decision for one purpose."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    purpose: Purpose
    is_given: bool
    version: Version = Field(description="the version of the text that the user has seen")


class ConsentsRequest(BaseModel):
    """The decisions that change. Other purposes keep theirs."""

    consents: Annotated[list[ConsentDecision], Field(min_length=1, max_length=len(Purpose))]


class ConsentState(BaseModel):
    """The decision for one purpose."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**_EXAMPLE, "changed_at": "2026-11-26T12:00:00Z"}]}
    )

    purpose: Purpose
    is_given: bool | None = Field(description="null: the user has not decided")
    version: str | None
    changed_at: datetime | None


class ConsentsResponse(BaseModel):
    """The decisions for all purposes."""

    consents: list[ConsentState]

    @classmethod
    def from_domain(cls, stored: Mapping[str, consent_store.Consent]) -> "ConsentsResponse":
        """Convert the stored decisions. Purposes without a decision are null."""
        return cls(
            consents=[
                ConsentState(purpose=purpose, is_given=None, version=None, changed_at=None)
                if (consent := stored.get(purpose.value)) is None
                else ConsentState(
                    purpose=purpose,
                    is_given=consent.is_given,
                    version=consent.version,
                    changed_at=consent.changed_at,
                )
                for purpose in Purpose
            ]
        )


@router.get("")
async def list_consents(caller: CurrentUser, deps: AuthDeps) -> ConsentsResponse:
    """List what the user has agreed to."""
    return ConsentsResponse.from_domain(await consents.list_consents(deps, caller))


@router.put("")
async def update_consents(
    body: ConsentsRequest, caller: CurrentUser, deps: AuthDeps
) -> ConsentsResponse:
    """Agree to purposes, or withdraw. Takes effect as soon as ai and media have the event.

    That takes a second or less. A call to a provider that runs already is not stopped.
    """
    decisions = [(one.purpose, one.is_given, one.version) for one in body.consents]
    return ConsentsResponse.from_domain(await consents.save_consents(deps, caller, decisions))
