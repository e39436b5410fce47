"""Transcription, feedback and the coach."""
