"""Practice sessions: facts, state, feedback and statistics."""
