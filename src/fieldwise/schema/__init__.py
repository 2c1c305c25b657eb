"""The schema of a log: its fields and their types, its label and other columns.

A `Schema` is complete: it is built from the configuration (`config`), with missing settings inferred from the log. It
is stored in the cache and in the bundle, so that training, evaluation and serving read raw rows in the same way.
"""

from fieldwise.schema.field import (
    Bins,
    Buckets,
    Count,
    CustomType,
    Decimal,
    Default,
    Field,
    FieldType,
    Length,
    Norm,
    Scale,
    Text,
    TimePart,
    TimeUnit,
    WeightScale,
)
from fieldwise.schema.labels import MAX_LABELS, NUM_STATES, Label, check_labels
from fieldwise.schema.schema import Schema

__all__ = [
    "MAX_LABELS",
    "NUM_STATES",
    "Bins",
    "Buckets",
    "Count",
    "CustomType",
    "Decimal",
    "Default",
    "Field",
    "FieldType",
    "Label",
    "Length",
    "Norm",
    "Scale",
    "Schema",
    "Text",
    "TimePart",
    "TimeUnit",
    "WeightScale",
    "check_labels",
]
