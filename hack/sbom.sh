#!/usr/bin/env bash
# Writes the bill of materials of a program, in CycloneDX's JSON: every module
# that go put into it, as the program itself says, with version, hash and licence.
# Asks nobody: what was built from is in Go's module cache.
# Usage: sbom.sh PROGRAM VERSION FILE
set -euo pipefail
(($# == 3)) || { echo "usage: sbom.sh PROGRAM VERSION FILE" >&2; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

program=$(realpath "$1") version=$2 file=$(realpath -m "$3")
# The bill names the tool by its hash: go tool would build one with this machine's
# paths in it.
(cd "$(dirname "$0")/.." && CGO_ENABLED=0 GOOS='' GOARCH='' go build -modfile=hack/tools/release/go.mod -trimpath -buildvcs=false \
  -o "$tmp/cyclonedx-gomod" github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod)
# No serial number and no time, so that the same program has the same bill. What is
# in the module cache was verified when the program was built; to ask the checksum
# database once more takes a network, and without its answer there are no licences.
GOPROXY=off GOSUMDB=off "$tmp/cyclonedx-gomod" bin -json -licenses -std -noserial -notimestamp \
  -version "$version" -output "$file" "$program" >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; exit 1; }
