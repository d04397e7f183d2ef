#!/usr/bin/env bash
# Runs every fuzz target of the module for a time each, and fails if one fails.
# Usage: fuzz.sh TIME
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:?usage: fuzz.sh TIME, 10s for instance}

targets=$(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's|^\./(.*)/[^/]*:func (.*)$|\1 \2|' | sort || true)
[[ -n $targets ]] || { echo "fuzz: no targets found" >&2; exit 1; }
while read -r package target; do
  echo "fuzz: $package $target"
  go test -run='^$' -fuzz="^$target\$" -fuzztime="$time" "./$package" </dev/null
done <<<"$targets"
