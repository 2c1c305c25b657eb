"""Compile the Triton kernels for GPUs that are not here; as a script, in a process without the interpreter."""

from __future__ import annotations

import argparse
import json
from itertools import product

from triton import compile as compile_kernel
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from fieldwise.nn.cuda import kernels

RULES = ["adagrad", "rowwise-adagrad", "adam", "ftrl"]
FEATURES = {"rows": "*i32", "inputs": "*fp32", "offsets": "*i64"}
MERGE = {"order": "*i64", "cells": "*i64", "chunks": "*i64", "firsts": "*i64", "numbers": "*i32"}
FLOATS = dict.fromkeys(("out", "local", "full", "sums", "gradients", "checks"), "*fp32")
RATES = dict.fromkeys("abcde", "fp32")


def variants(every: bool):
    """Yield the kernels, each with its flags and a tile."""
    flags = [
        dict(zip(("HAS_INPUTS", "HAS_BAGS", "BFLOAT16"), f, strict=True)) for f in product((False, True), repeat=3)
    ]
    for of in flags if every else flags[::7]:
        yield kernels.gather_local, {**of, "CELLS": 16, "UNITS": 16}
        yield kernels.gather_full, {**of, "FIELDS": 16, "UNITS": 1 if of["BFLOAT16"] else 16}
    for has in product((False, True), repeat=2) if every else ((True, True),):
        yield kernels.sum_chunks, {"HAS_INPUTS": has[0], "HAS_CELLS": has[1], "CHUNKS": 256, "UNITS": 1}
    yield kernels.sum_rows, {"ROWS": 16, "UNITS": 16}
    for number, (rule, bfloat16) in enumerate(product(RULES, (False, True))):
        if every or number % 3 == 0:
            for units in (1, 16):
                yield kernels.move_rows, {"RULE": rule, "BFLOAT16": bfloat16, "ROWS": 256 // units, "UNITS": units}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", action="store_true")
    parser.add_argument("--capabilities", default="80,90")
    arguments = parser.parse_args()
    compiled = []
    for capability in map(int, arguments.capabilities.split(",")):
        for kernel, constants in variants(arguments.every):
            if constants["UNITS"] == 1:  # Triton takes a 1 for a constant
                ones = [name for name in ("n", "num_local", "num_full", "num_fields") if name in kernel.arg_names]
                constants = {**constants, **dict.fromkeys(ones, 1)}
            types = {**FEATURES, **MERGE, **FLOATS, **RATES, "key": "i64"}
            types["table"] = "*i16" if constants.get("BFLOAT16") else "*fp32"
            signature = {
                name: "constexpr" if name in constants else types.get(name, "i32") for name in kernel.arg_names
            }
            source = ASTSource(kernel, signature, constants)
            binary = compile_kernel(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"]
            compiled.append([capability, kernel.__name__, len(binary)])
    print(json.dumps(compiled))


if __name__ == "__main__":
    main()
