"""What each verb of the command line does, as a function: a configuration or a run in, its results out."""
