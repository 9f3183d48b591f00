#!/usr/bin/env bash
# Mixed: an Elixir VM, a Python process and a C process are the three members of one cluster. drive.py tells the story.
#
# What is built already may be named: CONCORD_KV_LIB (libconcord_kv.a), CONCORD_NIF_PATH (libconcord_nif.so).
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target} LC_ALL=C.UTF-8 MIX_ENV=dev MIX_QUIET=1
for name in $(compgen -e CONCORD_); do
    [[ $name == CONCORD_KV_LIB || $name == CONCORD_NIF_PATH ]] || unset "$name"
done
work=$(mktemp -d "$CARGO_TARGET_DIR/mixed.XXXXXX")
trap 'rm -rf "$work"' EXIT

.ci/tools package
(cd elixir && mix compile)
cc -std=c99 -D_POSIX_C_SOURCE=200809L -O2 -Wall -Wextra -Werror -pedantic -Iinclude tests/mixed/member.c \
    "${CONCORD_KV_LIB:-$CARGO_TARGET_DIR/release/libconcord_kv.a}" -lpthread -ldl -lrt -lm -lgcc_s -o "$work/member"
.venv/bin/python tests/mixed/drive.py "$work" "$work/member" "$root/.venv/bin/python"
