"""Interview sessions: their facts, their status, their scores."""
