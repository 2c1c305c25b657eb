"""The verbs of the command line, as functions: each takes a configuration or a run, and returns what came of it."""
