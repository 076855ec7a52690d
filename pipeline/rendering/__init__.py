"""Render jobs: their file, and their plan."""
