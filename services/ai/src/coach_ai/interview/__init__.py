"""The interviewer: plan, turns, follow-ups and assessment. Pure functions, no I/O, no clock."""
