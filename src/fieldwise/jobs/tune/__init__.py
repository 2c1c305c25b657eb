"""Hyperparameter search within a budget."""
