"""Recordings: presigned uploads, and what really arrived."""
