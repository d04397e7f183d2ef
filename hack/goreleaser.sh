#!/usr/bin/env bash
# Has goreleaser make what .goreleaser.yaml says, of any commit, and puts it into a
# folder: programs, archives, packages, bills of materials and krew's manifest. Asks
# nobody and publishes nothing. The same commit and the same Go give the same octets.
# Usage: goreleaser.sh VERSION FOLDER [FLAG...]   (flags of goreleaser release, as --skip=nfpm,sbom)
#   DIST_ARCHS, DIST_OTHERS, DIST_GOCACHE, DIST_GOMODCACHE   as in dist.sh
set -euo pipefail
(($# >= 2)) || { echo "usage: goreleaser.sh VERSION FOLDER [FLAG...]" >&2; exit 2; }
version=$1 folder=$(realpath -m "$2")
shift 2
cd "$(dirname "$0")/.."
umask 022
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
read -ra archs <<<"${DIST_ARCHS:-amd64 arm64}"
read -ra others <<<"${DIST_OTHERS-darwin/amd64 darwin/arm64 windows/amd64 windows/arm64}"
targets=("${archs[@]/#/linux_}" "${others[@]/\//_}")

# SemVer, which krew wants, and of which nfpm makes what dpkg and rpm compare: what is
# not a release sorts before the one that it leads to. A hyphen and no dot before a
# commit: a hash of digits alone may begin with 0, and no number of SemVer may.
semver=${version#v}
[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+$ ]] ||
  semver=$(sed -n 's/^version: *//p' charts/printer-relay/Chart.yaml)-dev-${version//[^A-Za-z0-9]/-}

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
SOURCE_DATE=$(date -u -d "@$SOURCE_DATE_EPOCH" +%FT%TZ)
GOCACHE=$(go env GOCACHE) GOMODCACHE=$(go env GOMODCACHE)
export VERSION=$version SEMVER=$semver SOURCE_DATE_EPOCH SOURCE_DATE GOCACHE GOMODCACHE
export DIST_GOCACHE=${DIST_GOCACHE:-$GOCACHE} DIST_GOMODCACHE=${DIST_GOMODCACHE:-$GOMODCACHE}
export COMPLETIONS=$tmp/completions HOST
HOST=$(go env GOHOSTOS)_$(go env GOHOSTARCH)
export GOTOOLCHAIN=local

# Where to, and for which systems, can be said in the file only.
goreleaser=$(go tool -modfile=hack/tools/goreleaser/go.mod -n goreleaser)
sed "s|^  targets: .*|  targets: [$(IFS=, && echo "${targets[*]}")]|; \$a dist: $tmp/dist" .goreleaser.yaml |
  "$goreleaser" release --snapshot --timeout 6h --config - "$@" >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; exit 1; }

mkdir -p "$folder"
for arch in "${archs[@]}"; do
  cp "$tmp/dist/printer-relay_linux_${arch}_"*/printer-relay "$folder/printer-relay_linux_$arch"
done
find "$tmp/dist" -maxdepth 1 -type f -name 'printer-relay_*' -exec mv -t "$folder" {} +
mv "$tmp/dist/krew/printer-relay.yaml" "$folder/krew.yaml"
