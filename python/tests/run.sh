#!/usr/bin/env bash
# Builds the Python package into .venv and runs its tests. Usage: python/tests/run.sh [pytest arguments]
# CONCORD_KV_LIB may name a prebuilt libconcord_kv.a; otherwise cargo builds it.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=.venv
[[ -x $venv/bin/python ]] || python3 -m venv "$venv"
run=$venv/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
"$run" -m pip install --quiet --requirement python/tests/requirements.txt
CFLAGS="-Werror ${CFLAGS:-}" "$run" -m pip install --quiet --no-build-isolation --no-deps --force-reinstall ./python
cd python
exec "../$run" -m pytest "$@"
