"""What a configuration may say, made from its types and their docstrings: for people, for editors, for messages."""
