#!/usr/bin/env bash
# Writes the bill of materials of a program, in CycloneDX's JSON: every module
# that go put into it, as the program itself says, with version, hash and licence.
# Asks nobody: what was built from is in Go's module cache.
# Usage: sbom.sh PROGRAM VERSION FILE
set -euo pipefail
(($# == 3)) || { echo "usage: sbom.sh PROGRAM VERSION FILE" >&2; exit 2; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT

program=$(realpath "$1") version=$2 file=$(realpath -m "$3")
tool=$(cd "$(dirname "$0")/.." && go tool -modfile=hack/tools/release/go.mod -n cyclonedx-gomod)
# No serial number and no time, so that the same program has the same bill.
GOPROXY=off "$tool" bin -json -licenses -std -noserial -notimestamp \
  -version "$version" -output "$file" "$program" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
