"""Chaos runs: whole interviews while parts of the system fail (`make chaos`)."""
