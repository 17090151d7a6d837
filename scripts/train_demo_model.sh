#!/usr/bin/env bash
# Trains the demo model again, in an environment of its own: about three minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=${WEIGHBRIDGE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weighbridge}/train
if [ ! -x "$environment/bin/python" ]; then
  echo "setup: $environment with models/_demo/requirements.txt" >&2
  .venv/bin/python -m venv "$environment"
fi
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check -r models/_demo/requirements.txt
exec "$environment/bin/python" models/_demo/train.py
