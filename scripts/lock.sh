#!/bin/sh
# Writes requirements/*.txt from pyproject.toml: exact versions with hashes, and no
# registry address, so that the file says what is installed and not from where.
#
#   scripts/lock.sh           write them, keeping the versions that are there
#   scripts/lock.sh --upgrade take the newest versions
#   scripts/lock.sh --check   fail where they are stale
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
out=requirements
if [ "${1:-}" = --check ]; then
    shift
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
    cp requirements/*.txt "$out"
fi
lock() {
    name=$1
    shift
    "$python" -m uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
        --generate-hashes --no-header --no-emit-index-url --no-emit-package fanfold \
        --no-annotate --output-file "$out/$name.txt" "$@"
}
lock dev --extra dev "$@"
lock gateway --extra gateway --constraints "$out/dev.txt" "$@"
lock worker --extra worker --constraints "$out/dev.txt" "$@"
if [ "$out" != requirements ]; then
    for name in dev gateway worker; do
        cmp -s "$out/$name.txt" "requirements/$name.txt" || {
            echo "requirements/$name.txt is stale; repair it with: make lock" >&2
            exit 1
        }
    done
fi
