#!/usr/bin/env bash
# Packs the program for Debian's and Red Hat's families, with the unit of
# config/package: FOLDER/printer-relay_ARCH.deb and .rpm. The same octets for the same
# program and SOURCE_DATE_EPOCH.
# Usage: package.sh PROGRAM ARCH VERSION COMPLETIONS FOLDER
#   COMPLETIONS  folder of the shells' completions: printer-relay.bash, _printer-relay, printer-relay.fish
set -euo pipefail
(($# == 5)) || { echo "usage: package.sh PROGRAM ARCH VERSION COMPLETIONS FOLDER" >&2; exit 2; }
program=$(realpath "$1") arch=$2 version=${3#v} completions=$(realpath "$4") folder=$(realpath -m "$5")
cd "$(dirname "$0")/.."
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

# What is not a release sorts before the one that it leads to.
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] ||
  version="$(sed -n 's/^version: *//p' charts/printer-relay/Chart.yaml)~dev.${version//[^A-Za-z0-9.]/.}"

# The files' times and modes are the checkout's otherwise.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for kind in deb rpm; do
  ARCH=$arch VERSION=$version PROGRAM=$program COMPLETIONS=$completions SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH \
    go tool -modfile=hack/tools/package/go.mod nfpm package --config config/package/nfpm.yaml --packager "$kind" \
    --target "$folder/printer-relay_linux_$arch.$kind" >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; exit 1; }
done
