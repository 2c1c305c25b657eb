"""What the columns of a log mean, guessed from its first rows: no configuration has to name every field.

`complete_schema` fills in what a configuration leaves out, `write_config` prints a configuration to start from, and the
rules by which both guess stand as a table in `infer.guess`.
"""

from fieldwise.infer.fields import Inferred, complete_schema, infer_schema
from fieldwise.infer.label import guess_label
from fieldwise.infer.roles import group_remarks, no_inputs
from fieldwise.infer.starter import write_config

__all__ = ["Inferred", "complete_schema", "group_remarks", "guess_label", "infer_schema", "no_inputs", "write_config"]
