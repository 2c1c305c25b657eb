"""The schema of a log: its fields and their types, its label and other columns.

A `Schema` is complete: it is built from the configuration (`config`), with missing settings inferred from the log. It
is stored in the cache and in the bundle, so that training, evaluation and serving read raw rows in the same way.
"""

from fieldwise.schema.field import (
    CustomType,
    Decimal,
    Default,
    Field,
    FieldType,
    Norm,
    Scale,
    TimePart,
    TimeUnit,
    WeightScale,
)
from fieldwise.schema.labels import MAX_LABELS, NUM_STATES, Label, check_labels
from fieldwise.schema.schema import Schema

__all__ = [
    "MAX_LABELS",
    "NUM_STATES",
    "CustomType",
    "Decimal",
    "Default",
    "Field",
    "FieldType",
    "Label",
    "Norm",
    "Scale",
    "Schema",
    "TimePart",
    "TimeUnit",
    "WeightScale",
    "check_labels",
]
