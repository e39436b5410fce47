"""The local interview coach: knowledge base, replies, and the sanitizer for all replies."""
