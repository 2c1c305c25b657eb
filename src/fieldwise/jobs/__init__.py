"""The jobs behind the verbs of the command line, as functions from a configuration or a run to results."""
