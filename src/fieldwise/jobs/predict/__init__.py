"""Predictions of saved models for raw rows."""
