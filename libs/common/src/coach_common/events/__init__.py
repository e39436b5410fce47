"""Events: envelope, catalogue and shared models."""
