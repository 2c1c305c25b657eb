"""Raw logs in, shuffled batches out: readers, the split into parts, the cache on disk, and the order of an epoch."""
