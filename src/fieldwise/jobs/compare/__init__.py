"""Several models on one log, side by side."""
