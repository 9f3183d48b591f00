#!/usr/bin/env bash
# Http: GET and durable PUT through the API beside a bare axum "hello", with wrk; prints one JSON object a figure.
# Usage: http.sh [SECONDS]. The load generator shares the cores with the server. Answers are checked: a PUT that was
# counted has made a revision, and memory is told before and after a million requests.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
seconds=${1:-8}
connections=64
dir=$(mktemp -d "$target/bench-http.XXXX")
pids=()
trap 'for pid in "${pids[@]}"; do pkill -P "$pid" 2>/dev/null || true; kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done; rm -rf "$dir"' EXIT

# started FILE PATTERN: waits until the program has printed what PATTERN takes an address from.
started() {
    local _ url
    for _ in $(seq 200); do
        url=$(sed -n "$2" "$1")
        [[ -n $url ]] && echo "$url" && return
        sleep 0.05
    done
    echo "it did not start: $(cat "$1")" >&2
    return 1
}

# rate URL [wrk options] [-- arguments]: requests a second; fails when an answer was no success.
rate() {
    local said
    said=$(wrk -t2 -c"$connections" -d"${seconds}s" --timeout 10s "$@")
    if grep -qE 'Non-2xx|Socket errors' <<<"$said"; then
        echo "$said" >&2
        return 1
    fi
    awk '/requests in/ { print $1 > "/dev/stderr" } /Requests\/sec/ { print $2 }' <<<"$said" 2>"$dir/count"
}

figure() { # ID NAME VALUE BASELINE BASELINE_NAME
    awk -v id="$1" -v name="$2" -v value="$3" -v base="$4" -v base_name="$5" 'BEGIN {
        printf "{\"id\": \"%s\", \"name\": \"%s\", \"value\": %s, \"unit\": \"calls/s\", \"baseline\": %s, \"baseline_name\": \"%s\", \"ratio\": %.3f}\n",
            id, name, value, base, base_name, base / value
    }'
}

rss() { awk '/VmRSS/ { print $2 }' "/proc/$server/status"; }
revision() { curl -sf "$url/api/v1/status" | sed 's/.*"revision":\([0-9]*\).*/\1/'; }

cargo bench --locked --quiet --bench hello --manifest-path "$root/Cargo.toml" >"$dir/hello" &
pids+=($!)
"$target/release/concord" --json serve --data-dir "$dir/data" --api 127.0.0.1:0 >"$dir/serve" &
server=$!
pids+=("$server")
url=$(started "$dir/serve" 's/.*"api":"\([^"]*\)".*/\1/p')
hello=$(started "$dir/hello" '/^http:/p')
curl -sf -X PUT -H 'Content-Type: application/json' -d '{"value":"hello"}' "$url/api/v1/kv/hello" >/dev/null

hello_get=$(rate "$hello/")
get=$(rate "$url/api/v1/kv/hello")
figure P13 "GET over HTTP, $connections connections" "$get" "$hello_get" "bare axum hello"

hello_put=$(rate -s "$root/benches/http/put.lua" "$hello/" -- /)
before=$(revision)
put=$(rate -s "$root/benches/http/put.lua" "$url/")
counted=$(cat "$dir/count") made=$(($(revision) - before))
# Those that were under way when the time was over are made but not counted.
if ((made < counted || made > counted + connections)); then
    echo "wrk counted $counted answers, the store has $made new revisions" >&2
    exit 1
fi
figure P14 "durable PUT over HTTP, $connections connections" "$put" "$hello_put" "bare axum hello"

[[ $(curl -sf "$url/api/v1/kv/hello") == '{"status":"ok","data":"hello"}' ]]
warm=$(rss) asked=0
while ((asked < 1000000)); do
    rate "$url/api/v1/kv/hello" >/dev/null
    asked=$((asked + $(cat "$dir/count")))
done
echo "resident memory: $warm kB, after $asked more requests $(rss) kB"
