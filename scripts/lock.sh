#!/usr/bin/env bash
# requirements.txt and requirements-dev.txt from pyproject.toml, with hashes, for every Python from 3.11.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
.venv/bin/python -m venv "$tools/venv"
"$tools/venv/bin/pip" install --quiet uv

lock() { # lock FILE FIRST_LINE ARGUMENTS…
  local file=$1 first=$2
  shift 2
  "$tools/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links "$@" pyproject.toml --output-file "$tools/lock"
  { echo "$first"; cat "$tools/lock"; } > "$file.aside"
  mv "$file.aside" "$file"
}

lock requirements.txt "# What Weighbridge needs to run, with hashes. Made from pyproject.toml by: make lock"
lock requirements-dev.txt "# The same with what its tests need. Made from pyproject.toml by: make lock" --extra dev
