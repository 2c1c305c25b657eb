.DEFAULT_GOAL := help
.PHONY: help env test lint format demo

bin := .venv/bin
stamp := .venv/.complete

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile

env: $(stamp) ## make the environment in .venv (PYTHON=... to choose the interpreter)

# Written last, so an interrupted installation starts anew.
$(stamp): pyproject.toml constraints.txt scripts/env.sh
	@PYTHON="$(PYTHON)" scripts/env.sh
	@touch $@

test: lint ## check everything: imports, style, types, tests
	$(bin)/python -m pytest -q --numprocesses auto --maxprocesses 4 --dist loadfile

lint: $(stamp) ## check imports, style and types
	$(bin)/lint-imports --no-logo
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/mypy

format: $(stamp) ## rewrite the sources in the project's style
	$(bin)/ruff check --fix
	$(bin)/ruff format

demo: $(stamp) ## fetch MovieLens-1M, train and compare the models (5 to 9 minutes on 2 cores)
	scripts/demo.sh
