#!/usr/bin/env bash
# Compares the kinds with those of a release, and fails where what was applied then
# would be refused, or lose a field, now: by schema (oasdiff), and by trying that
# release's samples with this program. Until v1.0.0 a kind may change; a commit
# since then says so, with what to do about it, among its last lines:
#   Breaks-API: spec.foo.bar of PrinterRelay is gone: remove it
# Usage: api-compat.sh PROGRAM [BASE]     BASE: a commit; by default the last release before this one
set -euo pipefail
(($# >= 1)) || { echo "usage: api-compat.sh PROGRAM [BASE]" >&2; exit 2; }
program=$(realpath "$1") base=${2:-}
cd "$(dirname "$0")/.."
[[ -n $base ]] || base=$(git describe --tags --abbrev=0 --match 'v[0-9]*' HEAD^ 2>/dev/null) || {
  echo "api-compat: there is no release yet, so nothing was promised"
  exit 0
}
git rev-parse --verify --quiet "$base^{commit}" >/dev/null || { echo "api-compat: no such commit: $base" >&2; exit 2; }

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -o "$tmp/crdopenapi" ./hack/crdopenapi
oasdiff=$(go tool -modfile=hack/tools/compat/go.mod -n oasdiff)
mkdir "$tmp/base"
git archive "$base" config/crd/bases config/samples | tar -x -C "$tmp/base"

broken=()
for old in "$tmp"/base/config/crd/bases/*.yaml; do
  name=$(basename "$old")
  [[ -e config/crd/bases/$name ]] || { broken+=("$name is gone"); continue; }
  "$tmp/crdopenapi" <"$old" >"$tmp/old.json"
  "$tmp/crdopenapi" <"config/crd/bases/$name" >"$tmp/new.json"
  "$oasdiff" breaking --color never --fail-on WARN "$tmp/old.json" "$tmp/new.json" >"$tmp/log" 2>&1 || {
    cat "$tmp/log"
    broken+=("the schema of $name")
  }
done
try() { # try NAME FILE...: together they are one installation
  local name=$1
  shift
  rm -rf "$tmp/one" && mkdir "$tmp/one" && cp "$@" "$tmp/one"
  "$program" validate -f "$tmp/one" >"$tmp/log" 2>&1 || {
    cat "$tmp/log"
    broken+=("the sample $name of $base")
  }
}
samples=$tmp/base/config/samples
try standalone "$samples"/standalone/*.yaml
try cluster "$samples"/cluster/*.yaml
for sample in "$samples"/upstreams/*.yaml; do
  # It is one way out; the relay is that of the cluster's sample.
  [[ ! -e $sample ]] || try "upstreams/$(basename "$sample")" "$samples"/cluster/*.yaml "$sample"
done

if ((${#broken[@]} == 0)); then
  echo "api-compat: what was valid at $base is valid, and keeps its fields"
elif reasons=$(git log --format='%(trailers:key=Breaks-API,valueonly)' "$base"..HEAD | sed '/^$/d') && [[ -n $reasons ]]; then
  printf 'api-compat: changed: %s\n' "${broken[@]}"
  printf 'api-compat: as was said: %s\n' "$reasons"
else
  printf 'api-compat: FAILED: %s\n' "${broken[@]}" >&2
  echo "api-compat: keep what was valid valid, or say in the commit message why not (Breaks-API: ...) and in CHANGELOG.md what to do" >&2
  exit 1
fi
