"""The event that publishes a confirmed upload."""

from coach_common.events.catalog import UploadConfirmed
from coach_media.domain import Upload


def build_confirmation(upload: Upload, *, is_repeated: bool = False) -> UploadConfirmed:
    """Return the event that a confirmed upload is published with."""
    return UploadConfirmed(
        upload_id=upload.id,
        user_id=upload.user_id,
        key=upload.key,
        content_type=upload.content_type,
        size=upload.size_bytes or 0,
        etag=upload.etag or "",
        session_id=upload.session_id,
        is_repeated=is_repeated,
    )
