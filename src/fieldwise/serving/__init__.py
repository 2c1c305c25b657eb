"""A saved model that answers raw rows."""
