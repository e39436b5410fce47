"""Adapters of the media service to other services."""
