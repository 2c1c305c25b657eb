.DEFAULT_GOAL := help
.PHONY: help env test test-generic lint format docs demo

bin := .venv/bin
stamp := .venv/.complete

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile

env: $(stamp) ## make the environment in .venv (PYTHON=... to choose the interpreter)

# Written last, so an interrupted installation starts anew.
$(stamp): pyproject.toml constraints.txt scripts/env.sh
	@PYTHON="$(PYTHON)" scripts/env.sh
	@touch $@

test: lint ## check everything: imports, style, types, tests
	$(bin)/python -m pytest -q --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# The parts with products and kernels. `generic`: numba takes the host's features under any other name. Kernels are
# compiled anew for it, one part of a machine's cache beside the other.
generic := ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 NUMBA_CPU_NAME=generic
products := tests/kernels tests/nn/test_product.py tests/nn/test_linear.py tests/nn/test_units.py tests/nn/test_blocks.py \
	tests/tables/test_optimizer.py tests/training/test_precision.py tests/training/test_step.py

test-generic: $(stamp) ## check products and kernels as on a processor without AVX-512 and bfloat16
	$(generic) $(bin)/python -m pytest -q --numprocesses auto --maxprocesses 4 $(products)

lint: $(stamp) ## check imports, style and types
	$(bin)/lint-imports --no-logo
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/mypy

format: $(stamp) ## rewrite the sources in the project's style
	$(bin)/ruff check --fix
	$(bin)/ruff format

docs: $(stamp) ## build the documentation site in build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build

demo: $(stamp) ## fetch MovieLens-1M, train and compare the models (5 to 9 minutes on 2 cores, the first results after 2)
	scripts/demo.sh
