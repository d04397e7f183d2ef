#!/usr/bin/env bash
# Runs the fuzz targets of the module for a time each, and fails if one fails; the
# input that did it is printed, and lies where `go test` finds it.
# Usage: fuzz.sh TIME [TARGETS]
#   TIME     30s, 2m, or 100000x for a number of runs
#   TARGETS  a regular expression of their names; all if it is not given
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:?usage: fuzz.sh TIME [TARGETS], 10s for instance}
wanted=${2:-.}

targets=$(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's|^\./(.*)/[^/]*:func (.*)$|\1 \2|' | grep -E " ($wanted)" | sort || true)
[[ -n $targets ]] || { echo "fuzz: no target is named like $wanted" >&2; exit 1; }

# What a run leaves goes to memory where there is some; it syncs files all the time.
scratch=$(mktemp -d)
memory=$scratch
if [[ -w /dev/shm ]]; then memory=$(mktemp -d /dev/shm/fuzz.XXXXXX); fi
trap 'rm -rf "$scratch" "$memory"' EXIT

inputs() { find "$1/testdata/fuzz/$2" -type f 2>/dev/null | sort || true; }

# once PACKAGE TARGET: 0 nothing found, 1 something found, 2 Go's fuzzer stumbled over
# its own clock (https://go.dev/issue/75804, mended in Go 1.27): where the time is over
# just while it looks, it fails with the words below, no input, and nothing else.
once() {
  local package=$1 target=$2 status=0
  inputs "$package" "$target" >"$scratch/before"
  GOTMPDIR=$scratch TMPDIR=$memory go test -run='^$' -fuzz="^$target\$" -fuzztime="$time" -fuzzminimizetime=200x "./$package" </dev/null 2>&1 | tee "$scratch/output" || status=$?
  ((status)) || return 0
  inputs "$package" "$target" | comm -13 "$scratch/before" - >"$scratch/new"
  while read -r file; do
    printf 'fuzz: %s:\n' "$file"
    cat "$file"
  done <"$scratch/new"
  [[ -s $scratch/new ]] && return 1
  local failure
  failure=$(grep -vE '^(fuzz: |warning: |FAIL|exit status|\s*$)' "$scratch/output" | sed -E 's/ \([0-9.]+s\)$//')
  [[ $failure == "--- FAIL: $target"$'\n'"    context deadline exceeded" ]] && return 2
  return 1
}

while read -r package target; do
  for try in 1 2 3; do
    echo "fuzz: $package $target"
    status=0
    once "$package" "$target" || status=$?
    ((status == 2 && try < 3)) || break
    echo "fuzz: that was go.dev/issue/75804, no input failed; again"
  done
  ((status == 0)) || { echo "fuzz: $package $target failed" >&2; exit 1; }
done <<<"$targets"
