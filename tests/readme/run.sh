#!/usr/bin/env bash
# Readme: runs the quick starts of README.md as they stand there, each in a folder of its own.
# Rust's is compiled as a documentation test; its longer form, the example, runs here.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target} LC_ALL=C.UTF-8 MIX_ENV=dev MIX_QUIET=1
release=$CARGO_TARGET_DIR/release
work=$(mktemp -d "$CARGO_TARGET_DIR/readme.XXXXXX")
trap 'rm -rf "$work"' EXIT
passed=0

# block LANGUAGE: the first code block of that language below the heading "Quick start".
block() { awk -v fence="\`\`\`$1" '/^## Quick start/ { on = 1 } !on { next } /^```/ && inside { exit } inside { print } $0 == fence { inside = 1 }' README.md; }

# expect WHAT OUTPUT TEXT...: each text stands in the output.
expect() {
    local what=$1 output=$2 text
    shift 2
    for text in "$@"; do
        [[ $output == *"$text"* ]] || { printf 'README, %s: no "%s" in:\n%s\n' "$what" "$text" "$output" >&2; exit 1; }
    done
    passed=$((passed + 1))
    echo "README, $what: ok"
}

for language in c cpp python elixir sh; do
    mkdir "$work/$language"
    block "$language" >"$work/$language/quickstart"
    [[ -s $work/$language/quickstart ]] || { echo "README has no block for $language" >&2; exit 1; }
done

in_folder() { (cd "$work/$1" && shift && "$@"); }
native=(-I"$root/include" "$release/libconcord_kv.a" -lpthread -ldl -lrt -lm)

cp "$work/c/quickstart" "$work/c/quickstart.c"
cc -std=c99 -Wall -Wextra -Werror "$work/c/quickstart.c" -o "$work/c/program" "${native[@]}"
expect C "$(in_folder c ./program)" "visit 1"

cp "$work/cpp/quickstart" "$work/cpp/quickstart.cpp"
c++ -std=c++17 -Wall -Wextra -Werror "$work/cpp/quickstart.cpp" -o "$work/cpp/program" "${native[@]}"
expect C++ "$(in_folder cpp ./program)" '{"name":"Ada"}'

.ci/tools package
expect Python "$(in_folder python "$root/.venv/bin/python" quickstart)" "Ada visit 1"

(cd elixir && mix compile)
{ cat "$work/elixir/quickstart" && echo 'IO.puts("done")'; } >"$work/elixir/quickstart.exs"
expect Elixir "$(cd elixir && CONCORD_DATA_DIR=$work/elixir/data mix run --no-compile "$work/elixir/quickstart.exs")" "done"

expect "command line" "$(PATH=$release:$PATH in_folder sh bash -e quickstart)" "hello" "records"

# The cluster: one terminal a line that serves, the other lines in this one.
block_of_cluster() { awk -v wanted="$1" '/^## Cluster/ { on = 1 } !on { next } /^```/ && inside { inside = 0 } inside && count == wanted { print } $0 == "```sh" { inside = 1; count++ }' README.md; }
mkdir "$work/cluster"
{
    echo 'trap "kill \$(jobs -p); wait" EXIT'
    block_of_cluster 1 | sed '/^concord serve/s/$/ >>log 2>\&1 \&/'
    block_of_cluster 2
} >"$work/cluster/quickstart"
said=$(PATH=$release:$PATH in_folder cluster bash -e quickstart) || { cat "$work/cluster/log" >&2; exit 1; }
expect cluster "$said" "hello" "127.0.0.1:7413"

expect Rust "$(cargo run --locked --quiet --example quickstart -- "$work/rust")" "this is visit 1" "- lock:report" "- user:1"

echo "README: $passed passed, 0 failed"
