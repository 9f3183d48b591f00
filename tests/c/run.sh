#!/bin/bash
# Runs every test of the C interface: builds with all warnings as errors, runs each program, runs it again under
# valgrind, and uses the installed library from outside. Ends with one line "N passed, N failed".
#
# CONCORD_C_ONLY="kv queue" runs these programs only; CONCORD_C_VALGRIND=no leaves valgrind out and says so.
set -u
cd "$(dirname "$0")/../.."
root=$PWD
target=${CARGO_TARGET_DIR:-$root/target}
work=$(mktemp -d "${TMPDIR:-/tmp}/concord-c-tests.XXXXXX")
trap 'rm -rf "$work"' EXIT
unset CONCORD_DATA_DIR CONCORD_DURABILITY CONCORD_READ_CONSISTENCY CONCORD_LISTEN CONCORD_COOKIE
unset CONCORD_TLS_CERTIFICATE CONCORD_TLS_PRIVATE_KEY CONCORD_TLS_AUTHORITY
unset CONCORD_TOKEN CONCORD_AUTH_ENABLED CONCORD_LOCAL_SOCKET CONCORD_API_PORT CONCORD_API_IP CONCORD_PROMETHEUS_PORT
unset CONCORD_API_TLS_CERTIFICATE CONCORD_API_TLS_PRIVATE_KEY
unset CONCORD_TELEMETRY_ENABLED CONCORD_HOT_KEYS CONCORD_METRICS_KEYS
passed=0 failed=0

fail() {
  echo "FAILED $1"
  failed=$((failed + 1))
}

counted() { # LOG: adds up its last line
  local line
  line=$(grep -E '^== [0-9]+ passed, [0-9]+ failed$' "$1" | tail -1)
  if [ -z "$line" ]; then
    return 1
  fi
  passed=$((passed + $(echo "$line" | sed 's/== \([0-9]*\) passed.*/\1/')))
  failed=$((failed + $(echo "$line" | sed 's/.*, \([0-9]*\) failed/\1/')))
}

run() { # NAME COMMAND...: a test program, with the time that it may take
  local name=$1 status
  shift
  timeout 300 "$@" > "$work/$name.log" 2>&1
  status=$?
  grep -vE '^(ok |==)' "$work/$name.log"
  if ! counted "$work/$name.log"; then
    fail "$name: ended with $status before its report"
  else
    echo "       $name: $(tail -1 "$work/$name.log" | sed 's/^== //')"
  fi
}

wanted() { [ -z "${CONCORD_C_ONLY-}" ] || [[ " $CONCORD_C_ONLY " == *" $1 "* ]]; }

echo "-- building"
cargo build --release --locked --quiet -p concord-kv-c || { echo "0 passed, 1 failed"; exit 1; }
library=$target/release/libconcord_kv.a
strict="-Wall -Wextra -Werror -pedantic -g -Iinclude"
system="-lpthread -ldl -lrt -lm -lgcc_s"

compiles() { # NAME COMMAND...
  local name=$1
  shift
  if "$@" > "$work/compile.log" 2>&1; then
    passed=$((passed + 1))
  else
    cat "$work/compile.log"
    fail "$name"
  fi
}
echo "-- the headers in every language that they promise"
for standard in c99 c11 c17; do
  echo '#include "concord.h"' > "$work/only.c"
  compiles "concord.h as $standard" cc -std=$standard $strict -fsyntax-only "$work/only.c"
done
for standard in c++17 c++20; do
  printf '#include "concord.hpp"\n#include "concord.h"\n' > "$work/only.cpp"
  compiles "concord.hpp as $standard" c++ -std=$standard $strict -fsyntax-only "$work/only.cpp"
done
compiles "concord.h as c++11" c++ -x c++ -std=c++11 $strict -fsyntax-only "$work/only.c"

echo "-- the tests"
programs=""
for source in tests/c/*.c tests/c/*.cpp; do
  name=$(basename "${source%.*}")
  wanted "$name" || continue
  case $source in
    *.cpp) compile="c++ -std=c++17" ;;
    *) compile="cc -std=c99 -D_POSIX_C_SOURCE=200809L" ;;
  esac
  if $compile $strict "$source" "$library" $system -o "$work/$name"; then
    programs="$programs $name"
  else
    fail "$name does not compile"
  fi
done
arguments() {
  case $1 in
    golden) echo tests/golden/values ;;
    expressions) echo tests/golden/expressions.json ;;
    conformance) echo tests/golden/values/vectors.txt tests/conformance/*.txt ;;
  esac
}
for name in $programs; do
  run "$name" "$work/$name" $(arguments "$name")
done

if [ "${CONCORD_C_VALGRIND-yes}" = no ]; then
  echo "-- valgrind is left out as CONCORD_C_VALGRIND=no says"
elif ! command -v valgrind > /dev/null; then
  echo "-- valgrind is missing: install it (apt-get install valgrind)"
  fail "no leak was looked for"
else
  echo "-- again under valgrind: no leak, no invalid access"
  export CONCORD_TEST_SLOW=1
  for name in $programs; do
    # The scripts sleep and repeat what the other programs do; one of them is enough here.
    [ "$name" = conformance ] && scripts="tests/golden/values/vectors.txt tests/conformance/bulk.txt" || scripts=$(arguments "$name")
    run "valgrind-$name" valgrind --quiet --leak-check=full --show-leak-kinds=definite,indirect \
      --errors-for-leak-kinds=definite,indirect --error-exitcode=99 --fair-sched=yes --child-silent-after-fork=yes \
      "$work/$name" $scripts
    if grep -q '^==[0-9]*== ' "$work/valgrind-$name.log"; then
      fail "valgrind found something in $name"
    fi
  done
  unset CONCORD_TEST_SLOW
fi

if wanted installed; then
  echo "-- the installed library, used from outside"
  mkdir "$work/installed"
  run installed tests/c/installed.sh "$work/installed"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
