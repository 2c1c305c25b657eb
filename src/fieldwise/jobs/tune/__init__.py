"""A better configuration, on a budget."""
