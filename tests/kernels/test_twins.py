"""Every public function of `fieldwise.kernels` is compared with something that is not ours, and here stands with what:
a slow twin in `tests/reference`, or a peer of a library that others have tested; and in which test.
"""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic

import fieldwise.kernels

TESTS = Path(__file__).parent.parent
REFERENCE = TESTS / "reference"
KERNELS = Path(fieldwise.kernels.__file__).parent


class Twin(NamedTuple):
    """What a kernel is compared with, where, and what of ours that test calls, where it is not the kernel itself.

    Without a name the test says itself, in plain Python or as numbers, what is to come out.
    """

    name: str | None
    test: str
    via: str | None = None


NO_NUMBERS = {
    "compiler": "how kernels are compiled: test_numba.py",
    "instructions.next_ticket": "hands out work: test_threads.py",
    **dict.fromkeys(
        ("instructions.prefetch_item", "instructions.prefetch_line", "instructions.prefetch_row"),
        "asks for memory early, and changes nothing",
    ),
    "jit": "how kernels are compiled: test_compiled.py",
    "kept": "where compiled kernels are kept: test_compiled.py",
    "signals": "wakes threads: test_signals.py",
    "speed": "measures the machine",
    "threads": "hands out work: test_threads.py",
    "work": "cuts work into parts: test_table.py",
}
"""Modules, and functions of others, that compute nothing that could be compared."""

ACCESS = Twin("storage.neighbours", "kernels/test_storage.py", "write")
UNITS, UNIT_GRADIENTS = (Twin(f"units.{name}", "nn/test_units.py", "read_units") for name in ("read", "gradient"))
PIECE = Twin("variational.learn_piece", "kernels/test_variational.py", "_learn")
TIMES = Twin("times.iso", "kernels/test_times.py", "parse_times")
STEP = "tables/test_optimizer.py"

TWINS: dict[str, dict[str, Twin]] = {
    "auc": {
        "average_precision": Twin("metrics.average_precision", "kernels/test_auc.py"),
        "concordance": Twin("metrics.concordance", "kernels/test_auc.py"),
        "group_aucs": Twin("auc.group_aucs", "kernels/test_auc.py"),
        "grouped_auc": Twin("metrics.gauc", "kernels/test_auc.py"),
        "lexsort": Twin("numpy.lexsort", "kernels/test_auc.py"),
        "pack": Twin("auc.key", "kernels/test_auc.py"),
        "unpack": Twin("auc.key", "kernels/test_auc.py"),
        "unweighted": Twin("metrics.concordance", "kernels/test_auc.py"),
    },
    "bins": {
        "bin_ids": Twin("bins.bin_id", "kernels/test_bins.py"),
        "number_keys": Twin("sketch.key_of", "kernels/test_bins.py"),
        "numbers_of_keys": Twin("sketch.number_of", "kernels/test_bins.py"),
    },
    "blocks": {"mark_blocks": Twin("small.marked_blocks", "kernels/test_small.py")},
    "by_feature": {"by_feature": Twin("small.examples_of_features", "kernels/test_small.py")},
    "canonical": dict.fromkeys(
        ("form_of", "is_canonical", "spell", "write", "write_one"),
        Twin("canonical.canonical", "kernels/test_canonical.py", "spell"),
    ),
    "cells": {
        "cell_ends": Twin("cells.find_rows", "kernels/test_cells.py"),
        "column_offsets": Twin("cells.find_rows", "kernels/test_cells.py"),
        "copy_cells": Twin("cells.find_rows", "kernels/test_cells.py"),
        "count_lines": Twin(None, "kernels/test_cells.py"),
        "find_rows": Twin("cells.find_rows", "kernels/test_cells.py"),
        "is_ascii": Twin("builtins.bytes.isascii", "kernels/test_cells.py"),
    },
    "cells_of_pairs": {
        "combine_ids": Twin("pairs.cell_of", "kernels/test_cells_of_pairs.py"),
        "held_out_gain": Twin("pairs.held_out_gain", "kernels/test_cells_of_pairs.py"),
        "move_logits": Twin("pairs.weight_of", "kernels/test_cells_of_pairs.py"),
        "sum_cells": Twin("pairs.sums_of", "kernels/test_cells_of_pairs.py"),
    },
    "compact": dict.fromkeys(
        ("compacted", "kind_for", "width_of"), Twin("compact.int8_row", "kernels/test_compact.py")
    ),
    "cooccurrence": {
        "Cooccurrence": Twin("cooccurrence.collect", "kernels/test_cooccurrence.py"),
        "add_gradients": Twin("cooccurrence.join_gradient", "kernels/test_cooccurrence.py"),
        "augment": Twin("cooccurrence.collect", "kernels/test_cooccurrence.py"),
        "collect": Twin("cooccurrence.collect", "kernels/test_cooccurrence.py"),
        "copy_gradients": Twin("cooccurrence.join_gradient", "kernels/test_cooccurrence.py"),
        "join": Twin("cooccurrence.join", "kernels/test_cooccurrence.py"),
    },
    "counter": {
        "Counter": Twin("counter.numbered", "kernels/test_hashtable.py"),
        "ranked": Twin(None, "kernels/test_hashtable.py"),
    },
    "decode": {
        "bag_entries": Twin("decode.gather_bags", "kernels/test_decode.py"),
        "bag_offsets": Twin("decode.gather_bags", "kernels/test_decode.py"),
        "gather_lines": Twin("decode.gather_lines", "kernels/test_decode.py"),
        "pack_lines": Twin("decode.pack_lines", "kernels/test_decode.py"),
        "read_examples": Twin(None, "data/test_batches.py", "Batches"),
        "read_piece": Twin(None, "data/test_batches.py", "Batches"),
        "touch": Twin(None, "data/test_batches.py", "Batches"),
    },
    "exact_sums": dict.fromkeys(
        ("add_exactly", "exact_sum"), Twin("exact_sums.exact_sum", "kernels/test_exact_sums.py")
    ),
    "factors": {
        "add_fields": Twin("gibbs.row", "kernels/test_gibbs.py", "predict"),
        "predict": Twin(None, "kernels/test_gibbs.py"),
        "rotate": Twin(None, "kernels/test_gram.py"),
        "row_products": Twin(None, "kernels/test_gram.py"),
        "row_squares": Twin("numpy.square", "kernels/test_gram.py"),
        "row_width": Twin("gibbs.row", "kernels/test_gibbs.py"),
        "shift": Twin("gibbs.row", "kernels/test_gibbs.py"),
    },
    "fingerprint": {
        "combine": Twin("fingerprint.fingerprint", "kernels/test_fingerprint.py"),
        "fingerprint": Twin("fingerprint.fingerprint", "kernels/test_fingerprint.py"),
        "hash_text": Twin("fingerprint.fingerprint", "kernels/test_fingerprint.py", "fingerprint"),
        "hash_words": Twin("fingerprint.fingerprint", "kernels/test_fingerprint.py", "combine"),
    },
    "gibbs": dict.fromkeys(
        ("add_parts", "draw_row", "draw_rows", "move_parts"),
        Twin("gibbs.row", "kernels/test_gibbs.py"),
    ),
    "gradients": dict.fromkeys(("merge", "scatter"), Twin("table.gradients", "kernels/test_table.py")),
    "gram": {
        "add_scaled": Twin(None, "kernels/test_gram.py"),
        "add_square": Twin(None, "kernels/test_gram.py"),
        "dot": Twin("numpy.dot", "kernels/test_gram.py"),
    },
    "hashtable": {
        "bucket_ids": Twin("small.bucket_ids", "kernels/test_small.py"),
        "build": Twin(None, "kernels/test_hashtable.py"),
        "count_ids": Twin("numpy.bincount", "kernels/test_small.py"),
        "home": Twin(None, "kernels/test_hashtable.py", "lookup"),
        "lookup": Twin(None, "kernels/test_hashtable.py"),
        "place": Twin(None, "kernels/test_hashtable.py"),
        "slots_for": Twin(None, "kernels/test_hashtable.py"),
        "take": Twin("numpy.take", "kernels/test_hashtable.py"),
    },
    "instructions": {
        "first_bit": Twin(None, "kernels/test_small.py"),
        "matches": Twin("small.matches", "kernels/test_small.py"),
        "num_bits": Twin(None, "kernels/test_small.py"),
    },
    "interactions": {
        "pair_gradients": Twin("interactions.pair_gradients", "kernels/test_interactions.py"),
        "sum_pairs": Twin("interactions.sum_pairs", "kernels/test_interactions.py"),
    },
    "isotonic": {"isotonic": Twin("isotonic.isotonic", "test_calibration.py")},
    "joint_labels": dict.fromkeys(
        ("join_labels", "label_states"), Twin("small.joined_labels", "kernels/test_small.py")
    ),
    "lanes": {
        "adam_lanes": Twin("torch.optim.SparseAdam", STEP, "make"),
        "add_lanes": Twin(None, "kernels/test_lanes.py"),
        "copy_lanes": Twin(None, "kernels/test_lanes.py"),
        "lanes_of": Twin("table.gather", "kernels/test_table.py", "gather"),
    },
    "layout": {
        "Examples": Twin("layout.select", "kernels/test_layout.py"),
        "Layout": Twin("numpy.cumsum", "kernels/test_renumber.py", "make_layout"),
        "join": Twin("layout.join", "kernels/test_layout.py"),
        "select": Twin("layout.select", "kernels/test_layout.py"),
        "without_repeats": Twin("layout.summed", "kernels/test_layout.py"),
    },
    "limits": {
        "bare_reads": Twin(None, "kernels/test_limits.py"),
        "bare_sums": Twin(None, "kernels/test_limits.py"),
        "bare_update": Twin(None, "kernels/test_limits.py"),
    },
    "logistic": {
        "linear_errors": Twin("table.gather", "kernels/test_logistic.py"),
        "logistic_errors": Twin("logistic.logistic_errors", "kernels/test_logistic.py"),
    },
    "moments": {
        "calendar_part": Twin("encoder.ReferenceEncoder", "features/test_fields.py", "RowEncoder"),
        "clock_ahead": Twin("encoder.ReferenceEncoder", "features/test_fields.py", "RowEncoder"),
        "read_moment": Twin("encoder.ReferenceEncoder", "features/test_fields.py", "RowEncoder"),
    },
    "newton": {
        "LogisticProblem": Twin("sklearn.linear_model.LogisticRegression", "kernels/test_newton.py"),
        "logits_of": Twin("numpy.dot", "kernels/test_newton.py"),
    },
    "numbering": {"Numbering": Twin("storage.whole_row", "kernels/test_storage.py")},
    "optimizers": {
        "adagrad": Twin("torch.optim.Adagrad", STEP, "make"),
        "adagrad_number": Twin("torch.optim.Adagrad", STEP),
        "adam": Twin("torch.optim.SparseAdam", STEP, "make"),
        "adam_number": Twin("torch.optim.Adam", STEP),
        "ftrl": Twin("table.ftrl", STEP, "make"),
        "rowwise_adagrad": Twin("table.gradients", STEP, "make"),
    },
    "random": {
        **dict.fromkeys(
            ("draw_latents", "mixed", "normal"), Twin("gibbs.latents", "kernels/test_gibbs.py", "draw_latents")
        ),
        "draw_mask": Twin("dropout.is_kept", "kernels/test_dropout.py"),
        "fisher_yates": Twin("decode.fisher_yates", "kernels/test_shuffle.py"),
        "name_rows": Twin(None, "kernels/test_shuffle.py"),
        "permutation": Twin("decode.fisher_yates", "kernels/test_shuffle.py"),
    },
    "ranking": {"rank_in_groups": Twin("metrics.ranking", "metrics/test_ranking.py", "BinaryMetrics")},
    "relu": {"relu_backward": Twin("linear.activate", "kernels/test_relu.py")},
    "renumber": dict.fromkeys(
        ("compact", "num_slots", "number_by_hash", "number_by_row"),
        Twin("renumber.renumbered", "kernels/test_renumber.py"),
    ),
    "serve": {"encode_rows": Twin("encoder.ReferenceEncoder", "features/test_fields.py", "RowEncoder")},
    "storage": {
        "columns": Twin(None, STEP, "bytes_per_row"),
        "decode_weights": Twin("storage.neighbours", "kernels/test_storage.py"),
        "encode_weights": Twin("storage.neighbours", "kernels/test_storage.py"),
        "in_whole": Twin("storage.whole_row", "kernels/test_storage.py"),
        "load_state": ACCESS,
        "load_weight": ACCESS,
        "noise": Twin("storage.noise", "kernels/test_storage.py"),
        "num_weights": Twin("compact.int8_row", "kernels/test_compact.py"),
        "step_key": Twin(None, "kernels/test_storage.py"),
        "store_state": ACCESS,
        "store_weight": ACCESS,
    },
    "table": {
        "gather": Twin("table.gather", "kernels/test_table.py"),
        "gather_part": Twin("table.gather", "kernels/test_table.py", "gather"),
        "initialise": Twin("table.uniform", "kernels/test_table.py"),
        "initialise_numbered": Twin("table.uniform", "kernels/test_table.py"),
    },
    "texts": {
        "pick_texts": Twin(None, "kernels/test_small.py"),
        "put_texts": Twin("small.put_texts", "kernels/test_small.py"),
    },
    "times": {
        "compile_pattern": Twin("times.patterned", "kernels/test_times.py"),
        "moment_of": TIMES,
        "parse_times": TIMES,
    },
    "transpose": {"transpose": Twin(None, "kernels/test_transpose.py")},
    "units": {
        "add_skip": UNIT_GRADIENTS,
        "standardise": UNITS,
        "sum_gradients": UNIT_GRADIENTS,
        "sum_inputs": UNITS,
        "sum_skip": UNITS,
        "unit_gradients": UNIT_GRADIENTS,
    },
    "variational": {
        "change_prior": Twin("variational.likelier_prior", "kernels/test_variational.py"),
        "likelier_prior": Twin("variational.likelier_prior", "kernels/test_variational.py"),
        "moments": Twin("variational.of_logit", "kernels/test_variational.py", "predict"),
        "move_bias": PIECE,
        "move_rows": PIECE,
        "slopes": PIECE,
    },
}


def public_functions(module: str) -> set[str]:
    """Return what a module of kernels promises that computes something: functions, and classes that are no records."""
    found = import_module(f"fieldwise.kernels.{module}")
    return {
        name
        for name in getattr(found, "__all__", ())
        if isinstance(each := getattr(found, name), (Dispatcher, _Intrinsic))
        or inspect.isfunction(each)
        or (
            inspect.isclass(each)
            and any(inspect.isfunction(own) and not key.startswith("_") for key, own in vars(each).items())
        )
    }


def _own(each: type) -> list[object]:
    return [value for name, value in vars(each).items() if not name.startswith("_")]


def names_in(test: str) -> set[str]:
    """Return all names that a test file uses."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((TESTS / test).read_text())):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name.rpartition(".")[2])
    return found


def resolved(name: str) -> object:
    """Return a twin: of `tests.reference` where a module of this name is there, or of a library."""
    first, *rest = name.split(".")
    found: object = import_module(f"tests.reference.{first}" if (REFERENCE / f"{first}.py").exists() else first)
    for place, part in enumerate(rest):
        try:
            found = getattr(found, part)
        except AttributeError:
            found = import_module(".".join([first, *rest[: place + 1]]))
    return found


@pytest.mark.parametrize("module", sorted(path.stem for path in KERNELS.glob("[a-z]*.py")))
def test_every_kernel_has_a_twin_or_a_peer_that_its_test_calls(module):
    if module in NO_NUMBERS:
        return
    twins = TWINS.get(module, {})
    compared = {name for name in public_functions(module) if f"{module}.{name}" not in NO_NUMBERS}
    assert set(twins) == compared, "name what each public function is compared with"
    for kernel, twin in twins.items():
        used = names_in(twin.test)
        if twin.name is not None:
            assert resolved(twin.name) is not None
            assert twin.name.rpartition(".")[2] in used, f"{twin.test} does not use {twin.name}"
        assert (twin.via or kernel) in used, f"{twin.test} does not call {twin.via or kernel}"


def test_no_module_is_named_that_is_not_there():
    assert {name.partition(".")[0] for name in (*TWINS, *NO_NUMBERS)} <= {
        path.stem for path in KERNELS.glob("[a-z]*.py")
    }


def test_twins_import_nothing_of_ours():
    for path in REFERENCE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "fieldwise" for name in names), path.name
