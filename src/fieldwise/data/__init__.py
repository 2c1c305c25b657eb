"""From raw logs to shuffled batches: readers, the split into parts, the cache on disk, and the order of an epoch."""
