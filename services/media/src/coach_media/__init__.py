"""The media service: presigned uploads, their verification, playback and deletion."""
