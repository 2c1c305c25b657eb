"""What the columns of a log mean, guessed from its first rows: the rules stand as a table in `guess`."""
