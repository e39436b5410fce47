"""Where a response names the receipt of a deletion."""

from typing import Any
from uuid import UUID

RECEIPT_LOCATION: dict[str, Any] = {
    "headers": {
        "Location": {
            "description": "The path of the receipt, such as `/privacy/receipts/{id}`",
            "schema": {"type": "string"},
        }
    }
}
"""The OpenAPI description of a response that names a receipt in `Location`."""


def receipt_path(receipt_id: UUID) -> str:
    """Return the public path of a receipt."""
    return f"/privacy/receipts/{receipt_id}"
