"""``fieldwise forget``: take a person's values out of a run, and prove it."""
