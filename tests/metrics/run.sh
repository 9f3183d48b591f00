#!/usr/bin/env bash
# Metrics: what a store tells is read by the parser of Prometheus' own client library.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target} LC_ALL=C.UTF-8 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

venv=.venv
[[ -x $venv/bin/python ]] || python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --requirement tests/metrics/requirements.txt
data=$(mktemp -d "$CARGO_TARGET_DIR/metrics.XXXXXX")
trap 'rm -rf "$data"' EXIT
cargo run --locked --quiet --example metrics -- "$data" | "$venv/bin/python" tests/metrics/check.py
