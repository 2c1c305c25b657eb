"""The reference of the configuration file, and the check of one without its log."""
