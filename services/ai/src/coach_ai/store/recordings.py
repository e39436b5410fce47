"""Queries about recordings and their transcripts."""

import json
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import RowMapping, select, update

from coach_ai.domain import Recording, Transcript
from coach_ai.tables import RECORDINGS
from coach_common.db.transaction import Transaction

_TRANSCRIPT = TypeAdapter(Transcript)


async def add_recording(tx: Transaction, recording: Recording) -> bool:
    """Insert a recording. Return False if it exists; it is not changed then."""
    added = await tx.execute(
        tx.dialect.insert_ignore(RECORDINGS).values(
            upload_id=recording.upload_id,
            user_id=recording.user_id,
            key=recording.key,
            session_id=recording.session_id,
            etag=recording.etag,
            size_bytes=recording.size_bytes,
            has_failed=False,
        )
    )
    return added.rowcount == 1


async def find_recording(tx: Transaction, upload_id: UUID) -> Recording | None:
    """Return a recording, or None."""
    row = await tx.fetch_one(select(RECORDINGS).where(RECORDINGS.c.upload_id == upload_id))
    return None if row is None else _recording_from_row(row)


async def find_recording_by_key(tx: Transaction, key: str, *, user_id: UUID) -> Recording | None:
    """Return the user's recording with this object key, or None."""
    row = await tx.fetch_one(
        select(RECORDINGS).where(RECORDINGS.c.key == key, RECORDINGS.c.user_id == user_id)
    )
    return None if row is None else _recording_from_row(row)


async def lock_recording_by_key(tx: Transaction, key: str, *, user_id: UUID) -> Recording | None:
    """Return the user's recording with this object key, locked until the transaction ends.

    Transactions lock the recording before its sessions. If one stores a transcript while another
    stores a session, the later one sees what the earlier one has stored.
    """
    row = await tx.fetch_one(
        select(RECORDINGS)
        .where(RECORDINGS.c.key == key, RECORDINGS.c.user_id == user_id)
        .with_for_update()
    )
    return None if row is None else _recording_from_row(row)


async def mark_linked(tx: Transaction, upload_id: UUID, session_id: UUID) -> None:
    """Store a recording's session, unless it has one."""
    await tx.execute(
        update(RECORDINGS)
        .where(RECORDINGS.c.upload_id == upload_id, RECORDINGS.c.session_id.is_(None))
        .values(session_id=session_id)
    )


async def save_transcript(
    tx: Transaction, upload_id: UUID, transcript: Transcript, *, at: datetime
) -> None:
    """Store a recording's transcript."""
    await tx.execute(
        update(RECORDINGS)
        .where(RECORDINGS.c.upload_id == upload_id)
        .values(transcript=json.dumps(asdict(transcript)), has_failed=False, finished_at=at)
    )


async def mark_failed(
    tx: Transaction, upload_id: UUID, reason: str, *, is_restartable: bool, at: datetime
) -> None:
    """Store why transcription has failed for good, and whether it can be started again."""
    await tx.execute(
        update(RECORDINGS)
        .where(RECORDINGS.c.upload_id == upload_id)
        .values(
            has_failed=True, failure_reason=reason, is_restartable=is_restartable, finished_at=at
        )
    )


async def clear_failure(tx: Transaction, upload_id: UUID) -> None:
    """Store that transcription was started again."""
    await tx.execute(
        update(RECORDINGS)
        .where(RECORDINGS.c.upload_id == upload_id)
        .values(has_failed=False, failure_reason=None, is_restartable=False, finished_at=None)
    )


def _recording_from_row(row: RowMapping) -> Recording:
    stored = row["transcript"]
    return Recording(
        upload_id=row["upload_id"],
        user_id=row["user_id"],
        key=row["key"],
        session_id=row["session_id"],
        etag=row["etag"],
        size_bytes=row["size_bytes"],
        transcript=None if stored is None else _TRANSCRIPT.validate_json(stored),
        has_failed=row["has_failed"],
        is_restartable=row["is_restartable"],
        failure_reason=row["failure_reason"],
        finished_at=row["finished_at"],
    )
