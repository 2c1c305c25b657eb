"""The report of a training: what is measured for it, and where it is written."""
