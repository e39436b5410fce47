"""What sessions adds to the export of a user's data."""

from coach_common.db.export import ExportedTable
from coach_sessions.tables import (
    PRACTICE_DAYS,
    PROGRESS_ENTRIES,
    PROGRESS_TOTALS,
    RECORDINGS,
    SESSION_STATS,
    SESSIONS,
)

EXPORTED_TABLES = (
    ExportedTable(SESSIONS, hidden=("published_fingerprints", "repair_after")),
    ExportedTable(RECORDINGS, hidden=("linked_by_event_id",)),
    ExportedTable(SESSION_STATS),
    ExportedTable(PROGRESS_ENTRIES),
    ExportedTable(PROGRESS_TOTALS),
    ExportedTable(PRACTICE_DAYS),
)
