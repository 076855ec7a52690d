"""Evaluations: pairs, judging, and what comes of it."""
