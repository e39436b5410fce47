"""The events that auth consumes: deletions, and confirmations of deletions."""

from coach_auth.deps import Deps
from coach_auth.exported_tables import EXPORTED_TABLES
from coach_auth.use_cases import receipts
from coach_common.db.transaction import MessageContext
from coach_common.events.catalog import SessionDeleted
from coach_common.events.deletions import (
    AiConfirmedDeletion,
    DeletionConfirmed,
    MediaConfirmedDeletion,
    SessionsConfirmedDeletion,
)
from coach_common.events.exports import AuthExportPartCollected, ExportRequested
from coach_common.events.interviews import InterviewDeleted
from coach_common.exports import emit_parts
from coach_common.messaging.subscriptions import Handlers


async def on_session_deleted(deps: Deps, event: SessionDeleted, message: MessageContext) -> None:
    """Store the receipt of the deletion. Older releases ask for none."""
    if event.receipt_id is not None:
        await receipts.start_session_receipt(
            deps,
            event.receipt_id,
            publisher=event.source,
            deleted_at=event.deleted_at,
            is_repeated=event.is_repeated,
            message=message,
        )


async def on_interview_deleted(
    deps: Deps, event: InterviewDeleted, message: MessageContext
) -> None:
    """Store the receipt of the deletion, unless sessions has asked for it."""
    await receipts.start_session_receipt(
        deps,
        event.receipt_id,
        publisher=event.source,
        deleted_at=event.deleted_at,
        is_repeated=event.is_repeated,
        message=message,
    )


async def on_export_requested(deps: Deps, event: ExportRequested, message: MessageContext) -> None:
    """Emit all rows of the user for the export."""
    await emit_parts(deps.db, EXPORTED_TABLES, AuthExportPartCollected, event, message)


async def on_deletion_confirmed(
    deps: Deps, event: DeletionConfirmed, message: MessageContext
) -> None:
    """Store that the service which sent the event has deleted everything."""
    await receipts.record_confirmation(deps, event.receipt_id, event.source, message)


SUBSCRIPTIONS: Handlers[Deps] = {
    ExportRequested: on_export_requested,
    SessionDeleted: on_session_deleted,
    InterviewDeleted: on_interview_deleted,
    SessionsConfirmedDeletion: on_deletion_confirmed,
    MediaConfirmedDeletion: on_deletion_confirmed,
    AiConfirmedDeletion: on_deletion_confirmed,
}
