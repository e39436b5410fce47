"""The consumer of `export.requested` that every service with data of users has."""

from collections.abc import Sequence

from coach_common.db.database import Database
from coach_common.db.export import ExportedTable, read_parts
from coach_common.db.transaction import MessageContext
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
        async for part in read_parts(tx, tables, event.user_id):
            await tx.emit(
                kind(
                    export_id=event.export_id,
                    user_id=event.user_id,
                    attempt=event.attempt,
                    number=part.number,
                    is_last=part.is_last,
                    table=part.table,
                    content=part.content,
                )
            )
