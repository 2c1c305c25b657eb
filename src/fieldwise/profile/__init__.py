"""What is in a log before anything is trained: guessed types, and a survey of its columns."""
