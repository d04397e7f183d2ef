#!/usr/bin/env bash
# Makes what a release ships, in a folder that it empties first: programs, archives of
# them for people's machines, Debian and Red Hat packages, image, chart, install.yaml,
# krew's manifest, bills of materials, and the checksums of all. The same commit and the
# same Go give the same octets, on any machine and in any folder.
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
mkdir -p "$dist"

build() { # build OS ARCH PROGRAM
  GOCACHE=${DIST_GOCACHE:-$(go env GOCACHE)} GOMODCACHE=${DIST_GOMODCACHE:-$(go env GOMODCACHE)} GOOS=$1 GOARCH=$2 make -s build BIN="$3" VERSION="$version"
  hack/sbom.sh "$3" "$version" "$dist/printer-relay_$1_$2.cdx.json"
  hack/archive.sh "$3" "$1" "$2" "$dist"
}

programs=()
for arch in "${archs[@]}"; do
  program=$tmp/$arch/printer-relay
  build linux "$arch" "$program"
  programs+=("$program")
  cp "$program" "$dist/printer-relay_linux_$arch"
done
for other in ${DIST_OTHERS-darwin/amd64 darwin/arm64 windows/amd64 windows/arm64}; do
  build "${other%/*}" "${other#*/}" "$tmp/$other/printer-relay"
done
hack/krew.sh "$version" "$dist"

# The shells' completions are the same everywhere; this machine runs its own program.
host=$(go env GOHOSTARCH) runs=$tmp/$(go env GOHOSTARCH)/printer-relay
[[ " ${archs[*]} " == *" $host "* ]] || { runs=$tmp/runs && GOOS='' GOARCH='' make -s build BIN="$runs" VERSION="$version"; }
hack/completions.sh "$runs" "$tmp/completions"
for arch in "${archs[@]}"; do
  hack/package.sh "$tmp/$arch/printer-relay" "$arch" "$version" "$tmp/completions" "$dist"
done

hack/image.sh "$image:$version" "$dist/image.tar" "${programs[@]}" >"$dist/image.digest"

# Helm keeps the files' times and modes.
cp -r charts/printer-relay "$tmp/printer-relay"
chmod -R u=rwX,go=rX "$tmp/printer-relay"
find "$tmp/printer-relay" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
"${tool[@]}" helm package "$tmp/printer-relay" --destination "$dist" >/dev/null
"${tool[@]}" kustomize build config/default --output "$dist/install.yaml"

chmod 644 "$dist"/*
for arch in "${archs[@]}"; do chmod 755 "$dist/printer-relay_linux_$arch"; done
(cd "$dist" && LC_ALL=C && sha256sum -- * >"$tmp/sums" && mv "$tmp/sums" SHA256SUMS && chmod 644 SHA256SUMS)
