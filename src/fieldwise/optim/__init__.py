"""The optimizers: sparse ones for the table, torch's for the dense part."""
