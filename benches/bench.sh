#!/usr/bin/env bash
# Bench: runs the benchmarks of every language one after the other and reports them as one table.
# Usage: bench.sh [rust|c|python|elixir|http ...]; without arguments all of them.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target} LC_ALL=C.UTF-8 MIX_ENV=prod MIX_QUIET=1
lines=$CARGO_TARGET_DIR/bench
release=$CARGO_TARGET_DIR/release
failed=()
mkdir -p "$lines"

rust() { cargo bench --locked --quiet --bench rust; }

c() {
    cc -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Iinclude benches/c/bench.c -o "$lines/bench-c" \
        "$release/libconcord_kv.a" -lpthread -ldl -lrt -lm && "$lines/bench-c"
}

python() {
    .ci/tools package && .venv/bin/python benches/python/bench.py
}

elixir() { (cd elixir && mix compile && mix run --no-start ../benches/elixir/bench.exs); }

http() { .ci/tools http && benches/http.sh; }

parts=("$@")
((${#parts[@]})) || parts=(rust c python elixir http)
files=()
for part in "${parts[@]}"; do
    echo "== $part"
    "$part" >"$lines/$part.jsonl" || failed+=("$part")
    grep -v '^{' "$lines/$part.jsonl" || true
    files+=("$lines/$part.jsonl")
done
echo
python3 benches/report.py "$CARGO_TARGET_DIR/bench.json" README.md "${files[@]}"
if ((${#failed[@]})); then
    echo "bench: FAILED: ${failed[*]}" >&2
    exit 1
fi
