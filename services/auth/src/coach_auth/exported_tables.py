"""What auth adds to the export of a user's data."""

from coach_auth.tables import AUDIT_LOG, CONSENTS, LOGINS, USERS
from coach_common.db.export import ExportedTable

EXPORTED_TABLES = (
    ExportedTable(USERS, hidden=("password_hash", "email_digest"), owner="id"),
    ExportedTable(LOGINS),
    ExportedTable(CONSENTS, hidden=("republish_after",)),
    ExportedTable(AUDIT_LOG),
)
