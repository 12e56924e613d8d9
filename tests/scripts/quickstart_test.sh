#!/usr/bin/env bash
# scripts/quickstart in a tree of fakes: nothing is installed, built or trained; what it would run is written down.
set -euo pipefail
script=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../scripts" && pwd)/quickstart
world=$(mktemp -d "${TMPDIR:-/tmp}/espalier-quickstart-XXXXXX")
trap 'rm -rf "$world"' EXIT
unset ESPALIER_DATA
tree=$world/home/espalier
output=$world/output
mkdir -p "$tree"/{scripts,build/release/bin} "$world/bin" "$world/home/shared/data"
cp "$script" "$tree/scripts/quickstart"

fake() { # fake PATH 'body'
  printf '#!%s\n%s\n' "$BASH" "$2" >"$1"
  chmod +x "$1"
}
fake "$tree/scripts/setup" 'echo setup'
fake "$world/bin/cmake" 'echo cmake "$@"'
# Like the real one, it refuses a folder that holds another run.
fake "$tree/build/release/bin/espalier" 'echo "RUN $*"; mkdir -p runs && mkdir "$4"'

failures=0
quickstart() { (cd / && PATH=$world/bin:$PATH "$tree/scripts/quickstart") >"$output" 2>&1; }
expect() { # expect 'the espalier commands, one a line'
  quickstart || { echo "FAILED: $name: exit code $?"; failures=$((failures + 1)); }
  diff <(sed -n 's/^RUN //p' "$output") <(printf '%s\n' "$1") || { echo "FAILED: $name"; failures=$((failures + 1)); }
}
says() { grep -qF -- "$1" "$output" || { echo "FAILED: $name: does not say: $1"; failures=$((failures + 1)); }; }

name="no MNIST"
expect "train configs/quickstart.json --output runs/quickstart"
says "cmake --build --preset release --target espalier"
says "scripts/get-data mnist"
says "Results: runs/quickstart "

name="a second time, MNIST beside the project"
mkdir "$world/home/shared/data/mnist"
expect "train configs/quickstart.json --output runs/quickstart-2
train configs/mnist_mlp.json --output runs/mnist_mlp --data ../shared/data"

name="MNIST as get-data leaves it"
mkdir -p "$tree/data/mnist"
touch "$tree/data/mnist/train-images-idx3-ubyte.gz"
expect "train configs/quickstart.json --output runs/quickstart-3
train configs/mnist_mlp.json --output runs/mnist_mlp-2 --data data"

name="ESPALIER_DATA names another place"
mkdir -p "$world/elsewhere/mnist"
export ESPALIER_DATA=$world/elsewhere
expect "train configs/quickstart.json --output runs/quickstart-4
train configs/mnist_mlp.json --output runs/mnist_mlp-3 --data $world/elsewhere"

name="a run that fails"
fake "$tree/build/release/bin/espalier" 'exit 1'
if quickstart; then
  echo "FAILED: $name: exit code 0"
  failures=$((failures + 1))
fi

((failures == 0)) && echo "all as expected"
