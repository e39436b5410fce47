"""Stronger versions of answers: cleaned sentences, the template, and the check of a model's text.

Only `coach_ai.rewriting.local` needs the local scorer. The rest is plain Python.
"""
