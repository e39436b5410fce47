"""Store the key that all attempts at a question share."""

import unicodedata
from uuid import NAMESPACE_URL, UUID, uuid5

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id

revision = "2026_11_26_question_key"
down_revision = "2026_11_26_deletions"

_BATCH_SIZE = 1000
_SESSIONS = sa.table(
    "sessions",
    sa.column("id", Id),
    sa.column("question"),
    sa.column("question_id"),
    sa.column("question_key", Id),
)
_QUOTATION_MARKS = str.maketrans("‘’“”", "''\"\"")


def _question_key(session_id: UUID, question_id: str | None, question: str | None) -> UUID:
    """Return the key as this release builds it. A later release may build other keys."""
    if question_id is not None:
        return uuid5(NAMESPACE_URL, f"question-id:{question_id}")
    text = unicodedata.normalize("NFKC", question or "").translate(_QUOTATION_MARKS).casefold()
    normalized = " ".join(text.split()).rstrip(" .?!…")
    return uuid5(NAMESPACE_URL, f"question-text:{normalized}") if normalized else session_id


def _fill() -> None:
    connection, columns = op.get_bind(), _SESSIONS.c
    last_id = UUID(int=0)
    while True:
        rows = connection.execute(
            sa.select(columns.id, columns.question_id, columns.question)
            .where(columns.id > last_id)
            .order_by(columns.id)
            .limit(_BATCH_SIZE)
        ).all()
        if not rows:
            return
        last_id = rows[-1].id
        keys = [{"filled_id": row.id, "key": _question_key(*row)} for row in rows]
        connection.execute(
            sa.update(_SESSIONS)
            .where(columns.id == sa.bindparam("filled_id"))
            .values(question_key=sa.bindparam("key", type_=Id)),
            keys,
        )


def upgrade() -> None:
    op.add_column("sessions", sa.Column("question_key", Id, nullable=True))
    _fill()
    op.create_index(
        "ix_sessions_attempts",
        "sessions",
        ["user_id", "question_key", "created_at", "id", "overall_score"],
    )


def downgrade() -> None:
    op.drop_index("ix_sessions_attempts", "sessions")
    with op.batch_alter_table("sessions") as sessions:
        sessions.drop_column("question_key")
