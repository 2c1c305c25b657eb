"""The one configuration file: TOML in, frozen dataclasses out, every mistake named with its place and a suggestion.

::

    [data]                        # what the log is, and where
    train = ["clicks/*.parquet"]
    label = "click"
    [fields.user_id]              # what its columns mean; columns not named are inferred
    min_count = 2
    [model]                       # models.config.ModelConfig
    [train]                       # training.config.TrainConfig
    [pretrain]                    # the logistic regression that comes first
    [update]                      # training.update_config.UpdateConfig: how a day is learned from
    [gate]                        # training.update_config.GateConfig: when a daily update is not published
    [guards]                      # training.update_config.GuardsConfig: which days are not learned from

Relative paths are relative to the file.
"""

from fieldwise.config.load import (
    checked,
    config_of,
    find_problems,
    load_config,
    parse_config,
    read_text,
    with_overrides,
)
from fieldwise.config.tables import Config, DataConfig, FieldConfig, LabelConfig

__all__ = [
    "Config",
    "DataConfig",
    "FieldConfig",
    "LabelConfig",
    "checked",
    "config_of",
    "find_problems",
    "load_config",
    "parse_config",
    "read_text",
    "with_overrides",
]
