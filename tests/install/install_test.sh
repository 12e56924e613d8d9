#!/usr/bin/env bash
# Installs the build under ESPALIER_BUILD_DIR into a fresh prefix, builds and runs there the programs of docs/library.md and
# of docs/how-to/criterion.md, and what they have saved does without them. in_torch.py reads these files afterwards.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..
manual=$root/docs/library.md
[[ -e $manual ]] || { echo "skipped: there is no docs/library.md"; exit 77; }
work=$(mktemp -d "${TMPDIR:-/tmp}/espalier-install-XXXXXX")
trap 'rm -rf "$work"' EXIT
fail() {
  echo "FAILED: $*"
  exit 1
}

cmake --install "$ESPALIER_BUILD_DIR" --prefix "$work/prefix" >/dev/null
PATH=$work/prefix/bin:$PATH
espalier --version
diff -r "$root/configs" "$work/prefix/share/espalier/configs"
espalier inspect mnist_mlp 2>&1 | grep -F "mnist_mlp is $work/prefix/share/espalier/configs/mnist_mlp.json"
cmp "$root/LICENSE" "$work/prefix/share/doc/espalier/LICENSE"
espalier help man | cmp - "$work/prefix/share/man/man1/espalier.1"
for script in bash:bash-completion/completions/espalier zsh:zsh/site-functions/_espalier \
  fish:fish/vendor_completions.d/espalier.fish; do
  espalier completion "${script%%:*}" | cmp - "$work/prefix/share/${script#*:}"
done
scripts=$work/prefix/share/espalier/scripts
for script in from-torch load_in_torch.py; do
  cmp "$root/scripts/$script" "$scripts/$script"
  [[ -x $scripts/$script ]] || fail "$script cannot be executed"
done
"$scripts/from-torch" --help >/dev/null
readelf -d "$work/prefix/bin/espalier" | grep -q "$ESPALIER_BUILD_DIR" && fail "the program still looks into the build folder"

# It would cost each start 3.5 ms (core/cpu/dispatch.h). Sanitizers turn on Highway's own checks, which are in it.
if [[ -z ${ESPALIER_SANITIZE-} ]]; then
  readelf -d "$work/prefix/bin/espalier" | grep NEEDED | grep -q libhwy && fail "the program loads Highway's library"
fi

# What scripts/setup installs and a consumer needs: all but what only the program, the build of data/ and the tests use.
for package in $(sed -n '/^libraries=(/,/^)/p' "$root/scripts/setup" | grep -oE '[a-z0-9]+[a-z0-9-]*-dev'); do
  [[ $package =~ ^lib(cli11|stb|gtest)-dev$ ]] || grep -qw -- "$package" "$manual" || fail "docs/library.md lacks $package"
done

mkdir "$work/app"
cp "$here/CMakeLists.txt" "$here/own_module.cpp" "$work/app"
awk -v to="$work/app/program" '/^```cpp$/ {++n; inside = 1; next} /^```$/ {inside = 0} inside {print > (to n ".cpp")}' "$manual" \
  "$root/docs/how-to/criterion.md"
flags="-Wall -Wextra -Werror${ESPALIER_SANITIZE:+ -fsanitize=$ESPALIER_SANITIZE}"
cmake -S "$work/app" -B "$work/app/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_CXX_FLAGS="$flags" \
  -DCMAKE_BUILD_TYPE=Release
cmake --build "$work/app/build"
cd "$work"
for program in program1 program2 program3 program5; do
  echo "--- $program"
  "$work/app/build/$program" | tee "$program.out"
done
tuned=$(awk '/^tuned/ {print $2}' program1.out)
grep -q '^image 2: [0-9] 0\.' program2.out || fail "no prediction"
grep -q '^tuned  100.0 %' program3.out || fail "the bars are not told apart"
grep -q '^50 % of the weights are masked' program5.out || fail "the own criterion masks another share"

echo "--- a program in C, by the C interface alone"
lib=$(dirname "$(find "$work/prefix" -name espalier-predict.pc)")
if [[ ! $ESPALIER_SANITIZE ]]; then
  # shellcheck disable=SC2046
  cc "$work/prefix/share/espalier/examples/classify.c" -o classify \
    $(PKG_CONFIG_PATH=$lib pkg-config --cflags --libs espalier-predict) "-Wl,-rpath,$(dirname "$lib")"
  model=mlp.safetensors
  ./classify "$model" /dev/zero >classified || fail "the C program cannot run $model"
  grep -qE '^[0-9]+ ' classified || fail "the C program names no class"
fi

echo "--- a program with one more of each kind, whose names its config uses"
own=$work/app/build/program4
awk '/^```json$/ {inside = 1; next} /^```$/ {inside = 0} inside' "$manual" >own.json
"$own" check own.json
"$own" train own.json --output registered | tee registered.out
grep -q '^cut ' registered.out || fail "the registered run has no last stage"
python3 - <<'END'
import json
stages = {stage["name"]: stage for stage in json.load(open("registered/result.json"))["stages"]}
assert 2 * stages["cut"]["macs"] <= stages["sparse"]["macs"], stages
assert stages["sparse"]["nonzeros"] < 0.6 * stages["dense"]["nonzeros"], stages
END
"$own" train own.json --output registered_again >/dev/null
cmp registered/models/cut.safetensors registered_again/models/cut.safetensors || fail "the registered run is not the same twice"
"$own" predict --help >/dev/null
echo '{"config": "own.json", "seeds": [0]}' >swept.json
"$own" sweep swept.json  # its runs are processes of the same program, which know the names, too
cmp registered/models/cut.safetensors runs/swept/own/seed0/models/cut.safetensors || fail "a sweep's run comes to other bits"
"$own" train --resume registered 2>&1 | tee resumed.out  # reads its names again
grep -q 'the run is done already' resumed.out || fail "the registered run cannot be gone on with"
"$own" eval registered/models/cut.safetensors | grep -qE '^accuracy (9[0-9]|100)' || fail "the registered network learns nothing"
for word in bars two_convolutions lion tempered polynomial hoyer log quintic gradient_noise; do
  "$own" help "$word" >said || fail "no help on $word"
  grep -q "$word" said || fail "help on $word: $(cat said)"
done
"$own" help schema | grep -q temperature || fail "the schema does not have a loss's own field"
if "$own" check own.json --set stages.dense.train.loss.temprature=2 2>said; then fail "a misspelt field of its own is taken"; fi
grep -q "no such field, did you mean 'temperature'?" said || fail "$(cat said)"
if espalier check own.json 2>said; then fail "espalier knows the program's names"; fi
grep -q "/model/type: found the text \"two_convolutions\", expected one of" said || fail "$(cat said)"
espalier inspect registered/models/cut.safetensors | grep -q '^conv1 ' || fail "espalier does not open the run's model"
espalier graph registered/models/cut.safetensors >/dev/null
if espalier train --resume registered 2>said; then fail "espalier goes on with names that it does not know"; fi
grep -q "which this program does not know" said || fail "$(cat said)"

echo "--- what the files say"
espalier inspect mlp.safetensors | tee inspected
grep -q '^fc1 ' inspected || fail "inspect does not know the layers"
espalier eval mlp.safetensors --set data.type=synthetic | tee evaluated
grep -q "^accuracy $tuned %" evaluated || fail "eval finds another accuracy than the program: $tuned"
espalier inspect small_net.safetensors
if espalier eval mlp.safetensors 2>said; then fail "eval without a data set"; fi
grep -q "^espalier: mlp.safetensors: names no data set" said || fail "$(cat said)"
# An image of 28 x 28 black pixels
python3 - <<'END' >black.png
import struct, sys, zlib
def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
sys.stdout.buffer.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", 28, 28, 8, 0, 0, 0, 0))
                        + chunk(b"IDAT", zlib.compress(bytes(28 * 29))) + chunk(b"IEND", b""))
END
espalier predict mlp.safetensors black.png | tee predicted
grep -qE '^black.png(  [0-9] [0-9.]+ %){5}$' predicted || fail "predict"
if espalier predict small_net.safetensors black.png 2>said; then fail "an op of the program's own was run"; fi
grep -q "op 'swish' is none of Espalier's" said || fail "$(cat said)"

echo "--- a module that the program has never seen: looked at, trained, cut, tuned, gone on with"
"$work/app/build/own_module"
espalier inspect own.safetensors
espalier graph own.safetensors
espalier eval own.safetensors --set data.type=synthetic
cat >own.json <<'END'
{"name": "own", "model": {"type": "graph", "file": "own.safetensors", "weights": "own.safetensors"},
 "data": {"type": "synthetic", "batch": 32, "train_images": 256, "test_images": 64},
 "stages": [
   {"name": "dense", "train": {"epochs": 1, "optimizer": {"type": "sgd", "lr": 0.05}}},
   {"name": "sparse", "prune": {"unit": "weight", "criterion": "l1", "sparsity": 0.5}},
   {"name": "cut", "prune": {"unit": "channel", "criterion": "group_norm", "speedup": 2, "min_channels": 2, "verify": true}},
   {"name": "tuned", "train": {"epochs": 1, "optimizer": {"type": "sgd", "lr": 0.05}}}]}
END
espalier train own.json --output own
espalier train --resume own --set stages.tuned.train.epochs=2
rm own.safetensors
espalier eval own/models/tuned.safetensors
espalier graph own/models/tuned.safetensors
python3 - <<'END'
import json
stages = {stage["name"]: stage for stage in json.load(open("own/result.json"))["stages"]}
assert 2 * stages["tuned"]["macs"] <= stages["dense"]["macs"], stages
assert stages["sparse"]["nonzeros"] < 0.6 * stages["dense"]["nonzeros"], stages
END

espalier eval mlp.safetensors --set data.type=synthetic --logits pass.safetensors
espalier eval own/models/tuned.safetensors --logits own_pass.safetensors
saved=$ESPALIER_BUILD_DIR/installed_test
rm -rf "$saved"
mkdir "$saved"
cp mlp.safetensors pass.safetensors own/models/tuned.safetensors own_pass.safetensors small_net.safetensors "$saved"
