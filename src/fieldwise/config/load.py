"""TOML in, a `Config` out, or all that is wrong with it."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec

from fieldwise.config.consistency import contradictions, unknown_names
from fieldwise.config.explain import explain
from fieldwise.config.labels import with_labels
from fieldwise.config.origin import Origin
from fieldwise.config.overrides import apply_override, split_override
from fieldwise.config.tables import Config
from fieldwise.errors import ConfigError
from fieldwise.models.former import former_keys

__all__ = ["checked", "config_of", "find_problems", "load_config", "parse_config", "read_text", "with_overrides"]

_MAX_CHARACTERS = 1 << 23
_MAX_KEY_PARTS = 100


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file.

    Parameters
    ----------
    path
        A TOML file.
    overrides
        ``section.key=value`` each, the value in TOML or, failing that, plain text: ``train.epochs=3``,
        ``model.kind=lr``, ``fields.price.usd.bins=5``, ``fields."price.usd".bins=5``.

    Raises
    ------
    ConfigError
        The first mistake: the file and line, the key, what was expected, and the nearest known key.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "fieldwise.toml")
    ...     _ = path.write_text('data = { train = "log.csv", label = "click" }')
    ...     config = load_config(path, ["train.epochs=3"])
    >>> config.train.epochs, config.data.label
    (3, 'click')
    """
    path = Path(path)
    return parse_config(read_text(path), where=str(path), base=path.parent.resolve(), overrides=overrides)


def read_text(path: Path) -> str:
    """Return the text of a configuration file.

    Raises
    ------
    ConfigError
        It cannot be read, or is no text.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")  # editors on Windows begin files with a mark
    except OSError as error:
        raise ConfigError("the configuration cannot be read", where=path, got=error.strerror or error) from None
    except UnicodeDecodeError:
        raise ConfigError(
            "the configuration is not a text file",
            where=path,
            expected="TOML in UTF-8",
            fix="name the .toml file, not the log",
        ) from None


def parse_config(
    text: str, *, where: str = "configuration", base: str | Path = ".", overrides: Sequence[str] = ()
) -> Config:
    """Read a configuration from TOML text.

    Raises
    ------
    ConfigError
        The first of `find_problems`.

    Examples
    --------
    >>> config = parse_config('data = { train = "log.csv", label = "click" }', overrides=["train.epochs=3"])
    >>> config.train.epochs, config.model.kind
    (3, 'auto')
    """
    config, problems = _read(text, where, base, overrides)
    if problems:
        raise problems[0]
    return config


def find_problems(text: str, *, where: str = "configuration", overrides: Sequence[str] = ()) -> list[ConfigError]:
    r"""Return everything that is wrong with a configuration, as far as it can be told without its log.

    Keys that exclude each other are looked at once all single values are right.

    Examples
    --------
    >>> for problem in find_problems("[data]\nlabel = 1\ntrain = 'a.csv'\n[train]\nepoch = 3\n", where="a.toml"):
    ...     print(problem)
    invalid value
      where: a.toml, line 2, [data.label]
      expected: text
      got: 1
    unknown key: epoch
      where: a.toml, line 5, [train]
      hint: did you mean epochs?
    """
    try:
        return _read(text, where, ".", overrides)[1]
    except ConfigError as error:
        return [error]


def config_of(tree: Mapping[str, Any], *, where: str = "configuration", base: str | Path = ".") -> Config:
    """Return the configuration that nested tables mean, as `tomllib` reads them; ``data.train`` may be left out.

    Raises
    ------
    ConfigError
        The first thing that is wrong with it.

    Examples
    --------
    >>> config_of({"data": {"label": "click"}, "train": {"epochs": 3}}).train.epochs
    3
    """
    config, problems = _convert(deepcopy(dict(tree)), Origin(where, "", frozenset()), base)
    if problems:
        raise problems[0]
    return config


def checked(config: Config) -> Config:
    """Return a configuration that was made in Python as one that was read from a file; nothing looked at its values.

    Raises
    ------
    ConfigError
        The first thing that is wrong with it, or it is no configuration.

    Examples
    --------
    >>> from fieldwise.config import DataConfig
    >>> checked(Config(data=DataConfig(train=Path("log.csv"), labels=["click", "sale"]))).data.label
    'click'
    """
    if not isinstance(config, Config):
        raise ConfigError(
            "this is no configuration", expected="fieldwise.Config, or load_config(FILE)", got=type(config).__name__
        )
    return config_of(msgspec.to_builtins(config, enc_hook=_plain), base=config.base)


def _plain(value: Any) -> Any:
    """Return what a file would say in place of a path, or of numpy's numbers and arrays."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise ConfigError(
        "a configuration cannot hold this",
        expected="texts, numbers, lists and tables; rows in memory are given as data=",
        got=type(value).__name__,
    )


def with_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """Return a configuration with some keys replaced; see `load_config`.

    Examples
    --------
    >>> config = parse_config('data = { train = "log.csv", label = "click" }')
    >>> with_overrides(config, ["update.keep_days=7"]).update.keep_days
    7
    """
    if not overrides:
        return config
    tree = msgspec.json.decode(msgspec.json.encode(config))
    for override in overrides:
        apply_override(tree, override)
    return config_of(tree, where="--set", base=config.base)


def _read(text: str, where: str, base: str | Path, overrides: Sequence[str]) -> tuple[Config, list[ConfigError]]:
    """Return a configuration and all that is wrong with it; of what is wrong, it holds the defaults."""
    tree = _tree(text, where, overrides)
    origin = Origin(where, text, frozenset(tuple(split_override(override)[0]) for override in overrides))
    data = tree.get("data")
    lacks_log = isinstance(data, dict) and not data.get("train")
    config, problems = _convert(tree, origin, base)
    if lacks_log:
        problems.append(ConfigError("a required key is missing: train", where=origin.at("data")))
    return config, problems


def _convert(tree: dict[str, Any], origin: Origin, base: str | Path) -> tuple[Config, list[ConfigError]]:
    """Turn nested tables into a configuration, and take what is wrong out of them."""
    tree.pop("base", None)
    problems = []
    for table, name, problem in [*former_keys(tree, lambda *path: origin.before(path))]:
        problems.append(problem)
        del tree[table][name]
    while True:
        try:
            config = msgspec.convert({**tree, "base": str(base)}, Config, strict=True)
        except msgspec.ValidationError as error:
            problem, path = explain(str(error), tree, origin)
            problems.append(problem)
            _take_out(tree, path, problem)
        else:
            break
    config = with_labels(config)
    if not config.data.label:
        problems.append(ConfigError("a required key is missing: label", where=origin.at("data")))
    problems.extend(unknown_names(config, origin))
    if not problems:
        problems.extend(contradictions(config, origin))
    return config, problems


def _take_out(tree: dict[str, Any], path: Sequence[str], problem: ConfigError) -> None:
    """Take a wrong value out of the tree, or put in a required one, so that what else is wrong can be found."""
    table, required = tree, {("data",): {"label": "label", "train": "log"}, ("data", "label"): "label"}
    for name in path[:-1]:
        table = table.get(name, {})
    if tuple(path) in required:
        table[path[-1]] = required[tuple(path)]
    elif path and path[-1] in table:
        del table[path[-1]]
    else:  # nothing can be told beyond it
        raise problem


def _tree(text: str, where: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Parse the text and apply the overrides."""
    if len(text) > _MAX_CHARACTERS:
        raise ConfigError(
            "the configuration is too long", where=where, expected=f"at most {_MAX_CHARACTERS:,} characters"
        )
    if _deepest_key(text) > _MAX_KEY_PARTS:
        raise ConfigError("a key has too many parts", where=where, expected=f"at most {_MAX_KEY_PARTS}, as in a.b.c")
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of numbers with thousands of digits tomllib lets Python's own out
        raise ConfigError("the configuration is not valid TOML", where=where, got=error) from None
    for override in overrides:
        apply_override(tree, override)
    return tree


def _deepest_key(text: str) -> int:
    """Return an upper bound of the parts of a dotted key: tomllib takes time and memory with the square of them."""
    bare = re.sub(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*', "x", text)
    return 1 + max((run.count(".") for run in re.split(r"[^\w\-. \t]", bare)), default=0)
