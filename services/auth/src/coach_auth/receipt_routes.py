"""The route of receipts, which needs no login, and its response."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from coach_auth import receipts
from coach_auth.deps import Deps
from coach_auth.receipts import POLL_SECONDS, ReceiptNotFound
from coach_auth.use_cases.receipts import get_receipt
from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.dependencies import inject_deps
from coach_common.ids import parse_id

router = APIRouter(prefix="/privacy", tags=["privacy"], route_class=RetryOnConflictRoute)


class ServiceConfirmation(BaseModel):
    """When a service has confirmed that it deleted everything."""

    service: str
    confirmed_at: datetime | None = Field(description="null: not yet")


class DeletionReceipt(BaseModel):
    """The receipt of a deletion. It names neither the user nor the session."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "5f0c2b7e-91d4-4c0e-8f53-0b9d9c1f6a2e",
                    "kind": "session",
                    "status": "pending",
                    "requested_at": "2026-11-26T12:00:00Z",
                    "completed_at": None,
                    "services": [
                        {"service": "sessions", "confirmed_at": "2026-11-26T12:00:00Z"},
                        {"service": "media", "confirmed_at": None},
                        {"service": "ai", "confirmed_at": "2026-11-26T12:00:01Z"},
                    ],
                    "outstanding": ["media"],
                    "signature": None,
                }
            ]
        }
    )

    id: UUID
    kind: receipts.ReceiptKind
    status: Literal["pending", "complete"]
    requested_at: datetime
    completed_at: datetime | None
    services: list[ServiceConfirmation]
    outstanding: list[str] = Field(description="the services that have not confirmed yet")
    signature: str | None = Field(
        description="the receipt as a JWS, signed with a key of /.well-known/jwks.json; null while "
        "it is pending"
    )

    @classmethod
    def from_domain(cls, receipt: receipts.Receipt, signature: str | None) -> "DeletionReceipt":
        """Convert a receipt."""
        return cls(
            id=receipt.id,
            kind=receipt.kind,
            status="pending" if receipt.completed_at is None else "complete",
            requested_at=receipt.requested_at,
            completed_at=receipt.completed_at,
            services=[
                ServiceConfirmation(service=name, confirmed_at=receipt.confirmed_at.get(name))
                for name in receipt.services
            ],
            outstanding=receipt.outstanding,
            signature=signature,
        )


@router.get("/receipts/{receipt_id}")
async def show_receipt(
    receipt_id: str, deps: Annotated[Deps, inject_deps(Deps)], response: Response
) -> DeletionReceipt:
    """Return the receipt of a deletion. It needs no login, only its id.

    While `status` is `pending`, `Retry-After` gives the polling interval.
    """
    receipt, signature = await get_receipt(deps, parse_id(receipt_id, not_found=ReceiptNotFound))
    if signature is None:
        response.headers["retry-after"] = str(POLL_SECONDS)
    return DeletionReceipt.from_domain(receipt, signature)
