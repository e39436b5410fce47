"""The verbs of ai: facts that arrive, jobs that are done, conversations."""
