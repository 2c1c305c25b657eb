"""The rows of all features, and what moves them, behind one interface: in memory, on a device, or over workers."""
