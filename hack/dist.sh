#!/usr/bin/env bash
# Makes what a release ships, in a folder that it empties first: what goreleaser makes
# (hack/goreleaser.sh), and what it does not: the image without a Docker engine, the
# chart, install.yaml, and the checksums of all. The same commit and the same Go give the
# same octets, on any machine and in any folder.
# Usage: dist.sh VERSION FOLDER
#   DIST_ARCHS      architectures of Linux (default: amd64 arm64)
#   DIST_OTHERS     other systems, as OS/ARCH (default: darwin and windows, amd64 and arm64)
#   DIST_GOCACHE    where programs are compiled, in place of Go's own cache
#   DIST_GOMODCACHE where the modules of programs are, likewise
set -euo pipefail
(($# == 2)) || { echo "usage: dist.sh VERSION FOLDER" >&2; exit 2; }
version=$1 dist=$(realpath -m "$2")
cd "$(dirname "$0")/.."
read -ra archs <<<"${DIST_ARCHS:-amd64 arm64}"
tool=(go tool -modfile=hack/tools/deploy/go.mod)
image=ghcr.io/printerrelay/printer-relay
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
umask 022

# A release is called the same everywhere.
app_version=$(sed -n 's/^appVersion: *"\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' charts/printer-relay/Chart.yaml)
if [[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+$ && $version != "$app_version" ]]; then
  echo "dist: this is $version, and charts/printer-relay/Chart.yaml has appVersion $app_version: see Releases in docs/development.md" >&2
  exit 1
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
rm -rf "$dist"
hack/goreleaser.sh "$version" "$dist"

hack/image.sh "$image:$version" "$dist/image.tar" "${archs[@]/#/$dist/printer-relay_linux_}" >"$dist/image.digest"

# Helm keeps the files' times and modes.
cp -r charts/printer-relay "$tmp/printer-relay"
chmod -R u=rwX,go=rX "$tmp/printer-relay"
find "$tmp/printer-relay" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
"${tool[@]}" helm package "$tmp/printer-relay" --destination "$dist" >/dev/null
"${tool[@]}" kustomize build config/default --output "$dist/install.yaml"

chmod u=rwX,go=rX "$dist"/*
(cd "$dist" && LC_ALL=C && sha256sum -- * >"$tmp/sums" && mv "$tmp/sums" SHA256SUMS && chmod 644 SHA256SUMS)
