"""The consumer of `export.requested` that every service with data of users has."""

from collections.abc import Sequence

from coach_common.db.database import Database
from coach_common.db.export import ExportedTable, read_parts
from coach_common.db.transaction import MessageContext, Transaction
from coach_common.events.exports import ExportPartCollected, ExportRequested


async def emit_parts(
    database: Database,
    tables: Sequence[ExportedTable],
    kind: type[ExportPartCollected],
    event: ExportRequested,
    message: MessageContext,
) -> None:
    """Emit all rows of the user as events of `kind`. Applied once per message.

    One transaction reads and emits them, so the parts belong to one state of the database.
    """
    async with database.transaction(deduplicate=message) as tx:
        number, pending = 0, None
        async for part in read_parts(tx, tables, event.user_id):
            if pending is not None:
                await tx.emit(pending)
            number += 1
            pending = kind(
                export_id=event.export_id,
                user_id=event.user_id,
                attempt=event.attempt,
                number=number,
                is_last=False,
                table=part.table,
                content=part.content,
            )
        await _emit_last(tx, pending)


async def _emit_last(tx: Transaction, part: ExportPartCollected | None) -> None:
    if part is not None:
        await tx.emit(part.model_copy(update={"is_last": True}))
