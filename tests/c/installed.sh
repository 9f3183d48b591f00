#!/bin/bash
# Installed: a prefix that bindings/c/install.sh filled serves programs outside the tree.
#
# usage: installed.sh WORK (an empty directory). Prints "ok name" or "FAILED name" for each promise.
set -u
cd "$(dirname "$0")/../.."
work=$1
prefix=$work/prefix
examples=$PWD/bindings/c/examples
passed=0 failed=0

promise() { # NAME COMMAND...
  local name=$1
  shift
  if "$@" > "$work/log" 2>&1; then
    echo "ok     $name"
    passed=$((passed + 1))
  else
    echo "FAILED $name"
    cat "$work/log"
    failed=$((failed + 1))
  fi
}

config() { PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config "$@"; }
runs_well() { "$@" "$work/store" | tee /dev/stderr | grep -q '^user 1 is {"name":"Ada","admin":true}$'; }
exports_only_ours() { ! nm -D --defined-only "$prefix/lib/libconcord_kv.so" | awk '{ print $NF }' | grep -v '^concord_'; }
exports_what_is_declared() {
  grep -oE '\bconcord_[a-z_]+\(' include/concord.h | tr -d '(' | sort -u > "$work/declared"
  nm -D --defined-only "$prefix/lib/libconcord_kv.so" | awk '{ print $NF }' | sort -u > "$work/exported"
  # Functions are named with brackets in comments too; every export must be declared and every declaration exported.
  diff "$work/declared" "$work/exported"
}
has_soname() { readelf -d "$prefix/lib/libconcord_kv.so" | grep -q 'SONAME.*\[libconcord_kv.so.0\]'; }
stays_mapped() { readelf -d "$prefix/lib/libconcord_kv.so" | grep -q NODELETE; }
links_are_whole() { [ -e "$prefix/lib/libconcord_kv.so" ] && [ -e "$prefix/lib/libconcord_kv.so.0" ]; }
shared_by_pkg_config() {
  cc -std=c99 -Wall -Wextra -Werror $(config --cflags concord_kv) "$examples/quickstart.c" \
    $(config --libs concord_kv) -o "$work/shared" && LD_LIBRARY_PATH=$prefix/lib runs_well "$work/shared"
}
static_by_pkg_config() {
  local libs
  libs=$(config --static --libs concord_kv | sed 's/-lconcord_kv/-Wl,-Bstatic -lconcord_kv -Wl,-Bdynamic/')
  c++ -std=c++17 -Wall -Wextra -Werror $(config --cflags concord_kv) "$examples/quickstart.cpp" $libs -o "$work/static" &&
    ! ldd "$work/static" | grep -q libconcord && runs_well "$work/static"
}
by_cmake() {
  cmake -S tests/c/installed -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" -DEXAMPLES="$examples" &&
    cmake --build "$work/cmake" &&
    for program in from_c from_c_static from_cpp from_cpp_static; do
      runs_well "$work/cmake/$program" || return 1
    done
}
example_of_tokens() {
  cc -std=c99 -Wall -Wextra -Werror $(config --cflags concord_kv) "$examples/tokens.c" \
    $(config --libs concord_kv) -o "$work/tokens" &&
    LD_LIBRARY_PATH=$prefix/lib "$work/tokens" "$work/guarded" | tee /dev/stderr | grep -q '^revoked, at once$'
}
wrong_version_by_cmake() {
  mkdir -p "$work/newer" && sed 's/concord_kv 0.1 REQUIRED/concord_kv 0.2 REQUIRED/' tests/c/installed/CMakeLists.txt \
    > "$work/newer/CMakeLists.txt" || return 1
  ! cmake -S "$work/newer" -B "$work/newer/build" -DCMAKE_PREFIX_PATH="$prefix" -DEXAMPLES="$examples"
}
staged() {
  bindings/c/install.sh /usr "$work/stage" && [ -e "$work/stage/usr/lib/libconcord_kv.so.0" ] &&
    grep -q '^prefix=/usr$' "$work/stage/usr/lib/pkgconfig/concord_kv.pc"
}

promise it_installs bindings/c/install.sh "$prefix"
promise it_refuses_a_relative_prefix bash -c '! bindings/c/install.sh somewhere'
promise it_stages_for_packagers staged
promise the_shared_library_has_a_soname has_soname
promise the_shared_library_is_never_unmapped stays_mapped
promise the_version_links_are_whole links_are_whole
promise only_our_prefix_is_exported exports_only_ours
promise what_is_declared_is_exported exports_what_is_declared
promise pkg_config_finds_the_shared_library shared_by_pkg_config
promise pkg_config_finds_the_static_library static_by_pkg_config
promise the_example_of_tokens_runs example_of_tokens
promise cmake_finds_both by_cmake
promise cmake_refuses_another_interface wrong_version_by_cmake
echo "== $passed passed, $failed failed"
[ "$failed" = 0 ]
