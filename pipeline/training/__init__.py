"""Training runs: what they read, and how they are found by name."""
