"""The use cases of ai: incoming events, jobs, budgets and conversations."""
