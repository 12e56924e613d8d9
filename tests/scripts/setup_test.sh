#!/usr/bin/env bash
# scripts/setup in a world of fakes: PATH holds nothing else, so that no package of this machine is looked at or changed.
set -euo pipefail
unset DEBIAN_FRONTEND
setup=$(dirname "${BASH_SOURCE[0]}")/../../scripts/setup
world=$(mktemp -d "${TMPDIR:-/tmp}/espalier-setup-XXXXXX")
trap 'rm -rf "$world"' EXIT

fake() { # fake NAME 'body'
  printf '#!%s\n%s\n' "$BASH" "$2" >"$world/bin/$1"
  chmod +x "$world/bin/$1"
}

# A machine with everything: uid 1000, no sudo. `installed` has a line "package state" for each package.
fresh() {
  rm -rf "${world:?}"/*
  mkdir "$world/bin"
  : >"$world/calls"
  for tool in env sort head cat dirname; do ln -s "$(command -v "$tool")" "$world/bin/$tool"; done
  fake id 'echo 1000'
  fake g++ 'echo "g++ (Debian 12.2.0-14+deb12u1) 12.2.0"'
  fake cmake 'echo "cmake version 3.25.1"'
  fake python3 'echo "Python 3.11.2"'
  mkdir "$world/scripts"
  cp "$setup" "$world/scripts/setup"
  for tool in ninja pkg-config git; do fake "$tool" ''; done
  for package in libdnnl-dev libhwy-dev nlohmann-json3-dev libcli11-dev libspdlog-dev libfmt-dev zlib1g-dev \
    libzstd-dev liblzma-dev libarchive-dev libwebp-dev libstb-dev libonnx-dev libprotobuf-dev libgtest-dev; do
    echo "$package installed" >>"$world/installed"
  done
  fake dpkg-query "cat '$world/installed'; exit 1"
  fake apt-get "echo \"apt-get \$* [\$DEBIAN_FRONTEND]\" >>'$world/calls'
    [[ \$* != *install* ]] || for word; do echo \"\$word installed\"; done >>'$world/installed'"
}

lose() { # lose PACKAGE [state]
  local kept
  kept=$(grep -v "^$1 " "$world/installed")
  printf '%s\n' "$kept" ${2:+"$1 $2"} >"$world/installed"
}

failures=0
expect() { # expect 'what' condition...
  local what=$1
  shift
  "$@" || { echo "FAILED: $name: $what"; cat "$world/output" "$world/calls"; failures=$((failures + 1)); }
}
says() { grep -qF -- "$1" "$world/output"; }
calls() { [[ $(<"$world/calls") == "$1" ]]; }

run() { # run EXIT_CODE [arguments...]
  local code=0
  PATH=$world/bin "$BASH" "$world/scripts/setup" "${@:2}" >"$world/output" 2>&1 </dev/null || code=$?
  expect "exit code is $code, expected $1" test "$code" = "$1"
}

# The one line to give to root, and nothing done.
expect_only_the_line() {
  expect "one apt-get line" test "$(grep -c apt-get "$world/output")" = 1
  expect "the line" grep -qx "apt-get update && apt-get install -y --no-install-recommends $1" "$world/output"
  expect "nothing is run" calls ""
}

name="everything there"
fresh
run 0
expect "says so" says "everything is there"
expect "nothing is run" calls ""

name="missing, not root, no sudo"
fresh
lose libhwy-dev
lose libgtest-dev
run 1
expect_only_the_line "libhwy-dev libgtest-dev"

name="missing, not root, sudo asks for a password"
fresh
lose libhwy-dev
fake sudo 'exit 1'
run 1
expect_only_the_line "libhwy-dev"

name="missing tool"
fresh
rm "$world/bin/ninja"
run 1
expect_only_the_line "ninja-build"

name="removed, its configuration left"
fresh
lose zlib1g-dev config-files
run 1
expect_only_the_line "zlib1g-dev"

name="missing, root"
fresh
lose libfmt-dev
fake id 'echo 0'
run 0
expect "says what it installs" says "installing libfmt-dev"
options="-q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"
expect "installs" calls "apt-get $options update [noninteractive]
apt-get $options install -y --no-install-recommends libfmt-dev [noninteractive]"

name="missing, sudo without a password"
fresh
lose libfmt-dev
fake sudo "[[ \$1 == -n ]] || exit 1; shift; [[ \$1 == true ]] && exit; echo sudo >>'$world/calls'; exec \"\$@\""
run 0
expect "installs through sudo" calls "sudo
apt-get $options update [noninteractive]
sudo
apt-get $options install -y --no-install-recommends libfmt-dev [noninteractive]"

name="lists that cannot be renewed"
fresh
lose libfmt-dev
fake id 'echo 0'
fake apt-get "[[ \$* != *update* ]] || exit 100; echo 'libfmt-dev installed' >>'$world/installed'"
run 0
expect "says so" says "could not all be renewed"

name="installation fails"
fresh
lose libfmt-dev
fake id 'echo 0'
fake apt-get '[[ $* != *install* ]]'
run 1
expect "says so" says "setup: apt-get could not install libfmt-dev"

name="installation that installs nothing"
fresh
lose libfmt-dev
fake id 'echo 0'
fake apt-get ''
run 1
expect "says so" says "setup: still missing after the installation: libfmt-dev"

for old in "g++ (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0" "cmake version 3.22.1" "cmake version 3.9"; do
  name="old $old"
  fresh
  fake "${old%% *}" "echo '$old'"
  run 1
  expect "says so" says "setup: ${old%% *} ${old##* } is too old"
done

for new in "g++ (GCC) 14.1.0" "cmake version 4.0" "cmake version 3.100.2"; do
  name="new $new"
  fresh
  fake "${new%% *}" "echo '$new'"
  run 0
done

# python3 that makes an environment whose own python notes what it is called with.
fake_python() {
  fake python3 "case \$* in
    --version) echo Python 3.11.2 ;;
    '-c import ensurepip') grep -q '^python3-venv ' '$world/installed' ;;
    '-m venv '*) mkdir -p \$3/bin; printf '%s\n' '#!$BASH' 'echo \"pip: \$*\" >>$world/calls' '${1-}' >\$3/bin/python; chmod +x \$3/bin/python ;;
  esac"
}
packages="torch torchvision torch-pruning numpy safetensors zstandard onnx onnxruntime"
pip="pip: -m pip install --disable-pip-version-check -q $packages"

name="peers"
fresh
for tool in grep mkdir chmod; do ln -s "$(command -v "$tool")" "$world/bin/$tool"; done
fake_python
fake id 'echo 0'
run 0 --peers
expect "says what it installs" says "installing python3-venv"
expect "installs" calls "apt-get $options update [noninteractive]
apt-get $options install -y --no-install-recommends python3-venv [noninteractive]
$pip"
expect "an environment" test -x "$world/build/peers/bin/python"
: >"$world/calls"
run 0 --peers
expect "the same environment again" calls "$pip"
run 0
expect "without --peers it is let be" calls "$pip"

name="peers that cannot be had"
fresh
for tool in grep mkdir chmod; do ln -s "$(command -v "$tool")" "$world/bin/$tool"; done
fake_python "exit 1"
echo "python3-venv installed" >>"$world/installed"
run 1 --peers
expect "says so" says "setup: pip could not install $packages into build/peers"

name="an argument it does not know"
fresh
run 1 --peer
expect "says so" says "setup: '--peer' is no argument of its"

name="not Debian"
fresh
rm "$world/bin/apt-get"
run 1
expect "says so" says "this is not Debian or Ubuntu"
for package in "g++ (>= 12)" libdnnl-dev; do expect "lists $package" says "$package"; done

((failures == 0)) && echo "all as expected"
