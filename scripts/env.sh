#!/usr/bin/env bash
# Make the environment in .venv: the versions of constraints.txt, the package itself editable, the tools of development.
# pip's own configuration (index, proxy, certificates) is the user's and is left alone. PYTHON names another interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

# An interpreter counts when it runs at all (a pyenv shim may not), is new enough and can make an environment.
usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

python=""
for candidate in ${PYTHON:-python3 python3.11 python3.12 python3.13 python3.14}; do
    if usable "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "error: no usable Python found" >&2
    echo "  looked for: ${PYTHON:-python3, python3.11 ... python3.14} on the PATH" >&2
    echo "  expected: Python 3.11 or newer with the venv module (on Debian: apt-get install python3-venv)" >&2
    echo "  to do: install one, or name it: make env PYTHON=/path/to/python3.11" >&2
    exit 2
fi

echo "environment: .venv, from $("$python" --version) ($(command -v "$python"))"
"$python" -m venv --clear .venv

# torch comes first and alone, because it is the one requirement whose builds differ from machine to machine.
torch=$(grep '^torch==' constraints.txt)
if ! .venv/bin/python -m pip install --quiet -c constraints.txt "$torch"; then
    echo "error: pip could not install $torch for $(.venv/bin/python --version)" >&2
    echo "  to do: if its message above is about the network, repeat the command;" >&2
    echo "         if there is no such version for this Python, use another: make env PYTHON=python3.11;" >&2
    echo "         or put a version >= 2.6 that you can get in the torch line of constraints.txt" >&2
    exit 2
fi
.venv/bin/python -m pip install --quiet -c constraints.txt -e '.[train,serve,dev]'
