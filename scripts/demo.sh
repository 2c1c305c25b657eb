#!/usr/bin/env bash
# The paper's experiment on MovieLens-1M: fetch it as a click log, train and compare the models, print the tables.
set -euo pipefail
cd "$(dirname "$0")/.."

fieldwise=.venv/bin/fieldwise
echo "MovieLens-1M as a click log is fetched (6 MB) and encoded; then nine models are trained. How long that takes on" >&2
echo "this machine is said before it begins; a first table, of the four quick models, comes before the others." >&2
"$fieldwise" datasets movielens-1m --out data
"$fieldwise" compare data/movielens-1m.toml --out runs/demo "$@"
