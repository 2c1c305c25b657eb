"""A saved model's answers to raw rows."""
