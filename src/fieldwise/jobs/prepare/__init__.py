"""From a raw log to an encoder and caches."""
