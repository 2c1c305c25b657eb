"""Training and comparing several models on one log."""
