"""Adapters of sessions: calls to other services."""
