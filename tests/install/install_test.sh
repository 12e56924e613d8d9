#!/usr/bin/env bash
# Installs the build under ESPALIER_BUILD_DIR into a fresh prefix, and builds and runs docs/library.md's program there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
manual=$here/../../docs/library.md
[[ -e $manual ]] || { echo "skipped: there is no docs/library.md"; exit 77; }
work=$(mktemp -d "${TMPDIR:-/tmp}/espalier-install-XXXXXX")
trap 'rm -rf "$work"' EXIT

cmake --install "$ESPALIER_BUILD_DIR" --prefix "$work/prefix" >/dev/null
"$work/prefix/bin/espalier" --version
diff -r "$here/../../configs" "$work/prefix/share/espalier/configs"

mkdir "$work/app"
cp "$here/CMakeLists.txt" "$work/app"
awk '/^```cpp$/ && !seen {inside = seen = 1; next} /^```$/ {inside = 0} inside' "$manual" >"$work/app/app.cpp"
grep -q main "$work/app/app.cpp" || { echo "docs/library.md: its first \`\`\`cpp block is not a program"; exit 1; }
flags="-Wall -Wextra -Werror${ESPALIER_SANITIZE:+ -fsanitize=$ESPALIER_SANITIZE}"
cmake -S "$work/app" -B "$work/app/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_CXX_FLAGS="$flags" \
  -DCMAKE_BUILD_TYPE=Release
cmake --build "$work/app/build"
if readelf -d "$work/prefix/bin/espalier" | grep -q "$ESPALIER_BUILD_DIR"; then
  echo "the installed program still looks into the build folder"
  exit 1
fi
cd "$work"
"$work/app/build/app"
test -s mlp.safetensors || { echo "the program wrote no mlp.safetensors"; exit 1; }
