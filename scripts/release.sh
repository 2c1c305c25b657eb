#!/usr/bin/env bash
# Build a release into dist/, check it, and try it in clean environments: scripts/release.sh [--extras "train serve"] [--publish]
# Nothing leaves this machine without --publish, which uploads what was just tried. The checklist is in CONTRIBUTING.md.
set -euo pipefail
cd "$(dirname "$0")/.."

extras="none train serve sklearn tune trees ray tensorboard mlflow" publish=""
while [ $# -gt 0 ]; do
    case $1 in
    --extras) extras=$2; shift 2 ;;
    --publish) publish=yes; shift ;;
    *) echo "error: unknown argument: $1" >&2; echo "  expected: --extras \"NAMES\" or --publish" >&2; exit 2 ;;
    esac
done
fail() { echo "error: $1" >&2; echo "  to do: $2" >&2; exit 2; }

python=${PYTHON:-python3}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
echo "fieldwise $version"
[ -z "$(git status --porcelain)" ] || fail "the checkout has changes" "commit them, or leave them out"
grep -q "^__version__ = \"$version\"$" src/fieldwise/__init__.py || fail "src/fieldwise/__init__.py has another version" "set __version__"
grep -q "^version: $version$" CITATION.cff || fail "CITATION.cff has another version" "set version"
if [ -n "$publish" ]; then
    grep -q "^## $version, 20" CHANGELOG.md || fail "CHANGELOG.md has no date for $version" "write the day of the release in place of \"not yet released\""
    git tag --points-at HEAD | grep -qx "v$version" || fail "this commit is not v$version" "git tag -s v$version"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf dist
"$python" -m venv "$work/build"
"$work/build/bin/python" -m pip install --quiet build twine
"$work/build/bin/python" -m build --outdir dist . # the wheel from the source distribution, as others build it
"$work/build/bin/python" -m twine check --strict dist/*
wheel=$(echo "$PWD"/dist/fieldwise-"$version"-*.whl)

printf 'user,ad,click\n' > "$work/log.csv"
for _ in $(seq 50); do printf 'u1,a,1\nu2,b,0\nu3,a,0\nu1,b,1\n' >> "$work/log.csv"; done
printf 'data = { train = "log.csv", label = "click" }\nmodel.kind = "lr"\n' > "$work/fieldwise.toml"
tried=$PWD/scripts/try_extra.py
for extra in $extras; do # a clean environment for each, in which the package has nothing but what it asks for
    echo "== pip install fieldwise$([ "$extra" = none ] || echo "[$extra]")"
    rm -rf "$work/env"
    "$python" -m venv "$work/env"
    if [ "$extra" = none ]; then what=$wheel; else what="$wheel[$extra]"; fi
    case $extra in none | train | serve) ;; *) what="$wheel[train,$extra]" ;; esac # the others need what train brings
    began=$SECONDS
    "$work/env/bin/python" -m pip install --quiet --constraint constraints.txt "$what"
    echo "installed in $((SECONDS - began)) s, $(du -sm "$work/env" | cut -f1) MB"
    "$work/env/bin/python" -m pip check
    (
        cd "$work"
        run=$work/env/bin/fieldwise
        "$run" --version
        "$run" init log.csv --label click > /dev/null
        "$run" prepare fieldwise.toml --quiet > /dev/null
        case $extra in
        none) ;;
        train) "$run" train fieldwise.toml --out run --quiet > /dev/null && "$run" predict run --data log.csv --out - > /dev/null ;;
        serve) [ ! -d run ] || "$work/env/bin/python" -c 'import fieldwise, fieldwise.serving.app; fieldwise.Predictor("run").predict({"user": "u1", "ad": "a"})' ;;
        tune) "$run" tune fieldwise.toml --out tuned --trials 2 --set data.valid=0.3 --quiet > /dev/null ;;
        trees) for kind in lightgbm catboost; do "$run" train fieldwise.toml --out "with-$kind" --set data.valid=0.3 --set "train.trees=$kind" --quiet > /dev/null; done ;;
        ray) "$run" train fieldwise.toml --out on-ray --workers 2 --ray local --quiet > /dev/null ;;
        *) "$work/env/bin/python" - "$extra" < "$tried" ;;
        esac
    )
done
echo "dist/ is good:"
ls -l dist
if [ -n "$publish" ]; then
    "$work/build/bin/python" -m twine upload dist/*
else
    echo "nothing was published; scripts/release.sh --publish does"
fi
