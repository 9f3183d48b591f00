#!/usr/bin/env bash
# Schemathesis: asks the running program what its OpenAPI document allows and what it forbids; no answer may be a 5xx or
# differ from the document. Usage: schemathesis.sh [SECONDS]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
seconds=${1:-20}
program=$target/release/concord
[[ -x $program ]] || program=$target/debug/concord
log=$(mktemp)
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -f "$log"' EXIT

env -u CONCORD_DATA_DIR "$program" --json serve --durability memory --api 127.0.0.1:0 >"$log" &
server=$!
for _ in $(seq 100); do
    url=$(sed -n 's/.*"api":"\([^"]*\)".*/\1/p' "$log")
    [[ -n $url ]] && break
    kill -0 "$server" || exit 1
    sleep 0.1
done

# Membership of a store of one node can only fail, and takes its time to do so. A stream of changes has no end; tests/http/watch.rs
# reads it. Routes take turns within the time.
PYTHONUNBUFFERED=1 timeout 150 "$target/schemathesis/bin/schemathesis" run "$url/api/v1/openapi.json" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method \
    --exclude-path-regex '/members|/leader|/tokens|/watch' --phases coverage,fuzzing --max-time "$seconds" \
    --seed 7 --warnings off --no-color --request-timeout 10
kill -0 "$server" # it still runs
