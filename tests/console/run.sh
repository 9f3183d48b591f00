#!/usr/bin/env bash
# Run: the console of a real cluster in a real headless Chromium; drive.py tells the story. Pictures go to target/console/.
#
# CONCORD_PROGRAM: what is built already, else the optimised program, else the one for debugging.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
program=${CONCORD_PROGRAM:-$target/release/concord}
[[ -x $program ]] || program=$target/debug/concord
exec timeout 300 python3 "$root/tests/console/drive.py" "$program" "$(command -v chromium)" "$target/console"
