#!/usr/bin/env bash
# The paper's experiment on MovieLens-1M: fetch it as a click log, train and compare the models, print the tables.
set -euo pipefail
cd "$(dirname "$0")/.."

fieldwise=.venv/bin/fieldwise
"$fieldwise" datasets movielens-1m --out data
"$fieldwise" compare data/movielens-1m.toml --out runs/demo "$@"
