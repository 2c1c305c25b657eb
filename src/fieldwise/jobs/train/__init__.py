"""From a prepared log to a saved, evaluated model."""
