#!/usr/bin/env bash
# cmake/Finddnnl.cmake on made-up headers: which versions of oneDNN it takes, and what it says about the others.
set -euo pipefail
cmake_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../cmake" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/espalier-dnnl-XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/include/oneapi/dnnl"
touch "$work/include/dnnl.hpp" "$work/libdnnl.so"
cat >"$work/CMakeLists.txt" <<EOF
cmake_minimum_required(VERSION 3.25)
project(finds LANGUAGES NONE)
list(APPEND CMAKE_MODULE_PATH "$cmake_folder")
find_package(dnnl REQUIRED MODULE)
EOF

failures=0
finds() { # finds MAJOR MINOR PATCH
  printf '#define DNNL_VERSION_%s %s\n' MAJOR "$1" MINOR "$2" PATCH "$3" >"$work/include/oneapi/dnnl/dnnl_version.h"
  rm -rf "$work/build"
  cmake -S "$work" -B "$work/build" -DDNNL_INCLUDE_DIR="$work/include" -DDNNL_LIBRARY="$work/libdnnl.so" \
    >"$work/output" 2>&1
}
fail() {
  echo "FAILED: $*"
  cat "$work/output"
  failures=$((failures + 1))
}

finds 2 6 3 || fail "2.6.3 is refused"
finds 2 7 0 || fail "2.7.0 is refused"
for version in "1 8 1" "3 0 0" "3 10 2"; do
  # shellcheck disable=SC2086
  if finds $version; then fail "$version is taken"; fi
  grep -qF "Espalier needs oneDNN 2.x (2.6 is tested), but $work/include holds oneDNN ${version// /.}." \
    <(tr -s '\n ' ' ' <"$work/output") || fail "$version: the message does not say what is wrong"
done
exit $((failures != 0))
