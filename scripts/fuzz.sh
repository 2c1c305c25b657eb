#!/usr/bin/env bash
# Fuzz the parsers with atheris: scripts/fuzz.sh TARGET|all [RUNS] [OPTION OF libFuzzer ...]
# RUNS is a million unless given. atheris goes to build/fuzz, apart from the environment of .venv, which it reads.
# A defect ends it, with the input in build/fuzz/defects; inputs that reached new code are in build/fuzz/corpus/TARGET.
set -euo pipefail
cd "$(dirname "$0")/.."

python=.venv/bin/python
out=build/fuzz
targets=${1:?which target, or all}
runs=${2:-1000000}
shift $(($# < 2 ? $# : 2))

if [ ! -d "$out/packages/atheris" ]; then
    "$python" -m pip install --quiet --no-deps --target "$out/packages" "atheris>=3.0"
fi
mkdir -p "$out/defects" "$out/numba"
export PYTHONPATH="$out/packages:." OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1
# A kernel that reads beside an array says so, where it would else read on: with machine code of its own.
export NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR="$out/numba"

[ "$targets" = all ] && targets=$("$python" -c "from tests.fuzz.targets import TARGETS; print(*TARGETS)")
for target in $targets; do
    # Seconds on the clock are no measure on a busy machine, or one that pauses: the harness counts those of the processor.
    "$python" -m tests.fuzz "$target" "$out/corpus/$target" "-runs=$runs" -timeout=7200 -rss_limit_mb=2048 \
        "-artifact_prefix=$out/defects/$target-" -print_final_stats=1 "$@" 2>&1 | tail -n 40
done
