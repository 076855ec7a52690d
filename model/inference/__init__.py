"""Trained networks at work: animating a portrait, putting faces back into a film."""
