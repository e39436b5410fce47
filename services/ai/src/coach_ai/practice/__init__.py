"""Chooses what to practise next, by spaced repetition and weak points. Plain Python."""
