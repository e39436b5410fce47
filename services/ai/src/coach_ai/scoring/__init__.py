"""Scoring: the rubric, the checks that all scorers share, and the local scorer."""
