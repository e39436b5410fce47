"""The routes of exports. Their paths are below /auth/me, although media owns the recordings."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.dependencies import CurrentUser, inject_deps
from coach_common.ids import parse_id
from coach_media import exports
from coach_media.deps import Deps
from coach_media.export_model import POLL_SECONDS, Export, ExportNotFound

router = APIRouter(prefix="/auth/me/export", tags=["privacy"], route_class=RetryOnConflictRoute)

MediaDeps = Annotated[Deps, inject_deps(Deps)]

_ZIP = "application/zip"


class ExportStatus(BaseModel):
    """A copy of all data of the user that is being collected, or is ready."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "01936f5e-8c1a-7c3e-9b55-0d4c3f0a7e21",
                    "status": "ready",
                    "requested_at": "2026-11-26T12:00:00Z",
                    "completed_at": "2026-11-26T12:00:02Z",
                    "expires_at": "2026-12-03T12:00:02Z",
                }
            ]
        }
    )

    id: str
    status: Literal["pending", "ready"]
    requested_at: datetime
    completed_at: datetime | None
    expires_at: datetime

    @classmethod
    def from_domain(cls, export: Export) -> "ExportStatus":
        """Convert an export."""
        return cls(
            id=str(export.id),
            status="pending" if export.completed_at is None else "ready",
            requested_at=export.requested_at,
            completed_at=export.completed_at,
            expires_at=export.expires_at,
        )


@router.post("", status_code=202)
async def request_export(caller: CurrentUser, deps: MediaDeps, response: Response) -> ExportStatus:
    """Start to collect all data of the user.

    An export that is pending or younger than 10 minutes is returned instead of a new one.
    `Location` names the export. An `export` frame is pushed when it is ready.
    """
    export = await exports.request_export(deps, caller)
    response.headers["location"] = f"/auth/me/export/{export.id}"
    response.headers["retry-after"] = str(POLL_SECONDS)
    return ExportStatus.from_domain(export)


@router.get(
    "/{export_id}",
    response_model=ExportStatus,
    responses={200: {"content": {_ZIP: {"schema": {"type": "string", "format": "binary"}}}}},
)
async def get_export(
    export_id: str,
    caller: CurrentUser,
    deps: MediaDeps,
    response: Response,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response | ExportStatus:
    """Return the status of an export while it is pending, then the zip archive.

    While it is pending, `Retry-After` gives the polling interval. With `Accept: application/json`
    the response is always the status. An export is deleted after 7 days.
    """
    export = await exports.get_export(deps, caller, parse_id(export_id, not_found=ExportNotFound))
    if export.completed_at is None:
        response.headers["retry-after"] = str(POLL_SECONDS)
        return ExportStatus.from_domain(export)
    if "application/json" in accept and _ZIP not in accept:
        return ExportStatus.from_domain(export)
    return StreamingResponse(
        exports.stream_archive(deps, export),
        media_type=_ZIP,
        headers={"content-disposition": f'attachment; filename="export-{export.id}.zip"'},
    )
