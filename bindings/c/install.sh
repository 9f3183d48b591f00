#!/bin/sh
# Installs headers, libraries, pkg-config and CMake files: bindings/c/install.sh PREFIX [DESTDIR]
#
# PREFIX is where programs will find them; DESTDIR is put in front of it while copying, for packagers.
# The libraries are built first; CARGO_TARGET_DIR is respected.
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "usage: $0 PREFIX [DESTDIR]" >&2
  exit 2
fi
case $1 in
  /*) prefix=${1%/} ;;
  *) echo "$0: PREFIX must be absolute, not '$1'" >&2; exit 2 ;;
esac
into=${2-}$prefix
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

(cd "$root" && cargo build --release --locked --quiet -p concord-kv-c)
built=${CARGO_TARGET_DIR:-$root/target}/release

version=$(sed -n 's/^#define CONCORD_VERSION "\(.*\)"$/\1/p' "$root/include/concord.h")
major=${version%%.*}
rest=${version#*.}
minor=${rest%%.*}

filled() { # TEMPLATE TARGET
  sed -e "s|@PREFIX@|$prefix|g" -e "s|@VERSION@|$version|g" -e "s|@MAJOR@|$major|g" -e "s|@MINOR@|$minor|g" \
    "$here/$1" > "$2"
  chmod 644 "$2"
}

mkdir -p "$into/include" "$into/lib/pkgconfig" "$into/lib/cmake/concord_kv"
install -m 644 "$root/include/concord.h" "$root/include/concord.hpp" "$root/include/concord_value.hpp" "$into/include/"
install -m 644 "$built/libconcord_kv.a" "$into/lib/"
install -m 755 "$built/libconcord_kv.so" "$into/lib/libconcord_kv.so.$version"
ln -sf "libconcord_kv.so.$version" "$into/lib/libconcord_kv.so.$major"
ln -sf "libconcord_kv.so.$major" "$into/lib/libconcord_kv.so"
filled concord_kv.pc.in "$into/lib/pkgconfig/concord_kv.pc"
install -m 644 "$here/concord_kv-config.cmake" "$into/lib/cmake/concord_kv/"
filled concord_kv-config-version.cmake.in "$into/lib/cmake/concord_kv/concord_kv-config-version.cmake"
echo "concord_kv $version is installed in $into"
