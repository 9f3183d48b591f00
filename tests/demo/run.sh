#!/usr/bin/env bash
# Demo: one store, written from Elixir, read from Python, C and the Rust program, killed with -9 under writes,
# and back with every acknowledged write. Fails on the first difference.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target} LC_ALL=C.UTF-8 MIX_ENV=dev MIX_QUIET=1
here=tests/demo release=$CARGO_TARGET_DIR/release python=.venv/bin/python
work=$(mktemp -d "$CARGO_TARGET_DIR/demo.XXXXXX")
store=$work/store csv=$root/$here/countries.csv
writer=
cleanup() {
    [[ -z $writer ]] || kill -9 "$writer" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

row() { printf '  %-9s %-58s %s\n' "$1" "$2" "$3"; }

fail() {
    echo "demo: FAILED: $*" >&2
    exit 1
}

elixir_run() { # SCRIPT ARGUMENT...
    local script=$root/$here/$1
    shift
    (cd elixir && CONCORD_DATA_DIR=$store exec mix run --no-compile "$script" "$@")
}

# kill_under_load LANGUAGE COMMAND...: lets the command write, kills it with -9, leaves its acknowledgements.
kill_under_load() {
    local pid_file=$work/$1.pid acks=$work/$1.acks
    shift
    "$@" "$pid_file" "$acks" >"$work/load.out" 2>&1 &
    local shell=$!
    for _ in $(seq 300); do
        [[ -s $acks ]] && break
        kill -0 "$shell" 2>/dev/null || { cat "$work/load.out" >&2; fail "the writer did not start"; }
        sleep 0.1
    done
    writer=$(cat "$pid_file")
    sleep 1.5
    kill -9 "$writer"
    wait "$shell" 2>/dev/null || true
    writer=
    # A line that the kill has cut is no acknowledgement that anybody read.
    [[ -z $(tail -c 1 "$acks") ]] || sed -i '$d' "$acks"
    [[ -s $acks ]] || fail "nothing was acknowledged before the kill"
}

echo "Building the packages ..."
.ci/tools package
(cd elixir && mix compile)
cc -std=c99 -O2 -Wall -Wextra -Werror -Iinclude "$here/read.c" "$release/libconcord_kv.a" -lpthread -ldl -lrt -lm -o "$work/read"

echo
echo "One store. Real input: 27 countries (tests/demo/countries.csv)."
echo
row LANGUAGE "DOES" "RESULT"

written=$(elixir_run write.exs "$csv")
row Elixir "writes countries, dates, tuples, big integers, a TTL" "$written writes on disk"

read_back=$($python $here/demo.py read "$store" "$csv")
row Python "reads all of it back with the right types, counts a visit" "$read_back values equal"

"$work/read" "$store" >"$work/c.tsv"
row C "scans the countries, counts a visit" "$($python $here/demo.py compare "$csv" "$work/c.tsv") records equal"

for key in $(cut -f 1 "$work/c.tsv"); do
    printf '%s\t%s\n' "$key" "$("$release/concord" get "$key" --data-dir "$store")"
done >"$work/rust.tsv"
row Rust "the concord program gets each of them" "$($python $here/demo.py compare "$csv" "$work/rust.tsv") records equal"
[[ $("$release/concord" get visits --data-dir "$store") == 3 ]] || fail "three languages counted a visit each, but not to 3"
row all "three languages counted one visit each" "visits = 3"

kill_under_load elixir elixir_run load.exs
acknowledged=$(wc -l <"$work/elixir.acks")
there=$($python $here/demo.py check "$store" "$work/elixir.acks")
row Elixir "writes from 8 processes; kill -9" "$acknowledged acknowledged"
row Python "opens the store and looks for each" "$there there"
[[ $acknowledged == "$there" ]] || fail "$acknowledged acknowledged, $there there"

kill_under_load python $python $here/demo.py load "$store"
acknowledged=$(wc -l <"$work/python.acks")
there=$(elixir_run check_acks.exs "$work/python.acks")
row Python "writes from 8 threads; kill -9" "$acknowledged acknowledged"
row Elixir "opens the store and looks for each" "$there there"
[[ $acknowledged == "$there" ]] || fail "$acknowledged acknowledged, $there there"

echo
echo "demo: one store, four languages, two kills with -9, every acknowledged write is there"
