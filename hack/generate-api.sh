#!/usr/bin/env bash
# Writes the reference of the kinds, from their types and comments, to the file $1.
set -euo pipefail
out=$(realpath -m "$1")
cd "$(dirname "$0")/.."

mkdir -p "$(dirname "$out")"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
go tool -modfile=hack/tools/docs/go.mod crd-ref-docs --source-path=./api/v1alpha1 --config=hack/tools/docs/config.yaml \
  --renderer=markdown --output-path="$out" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
# Only line breaks are meant as HTML, and stars are those of patterns.
perl -pi -e 's/<(?!br \/>)/&lt;/g; s/(?<!\\)\*/\\*/g' "$out"
