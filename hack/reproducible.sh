#!/usr/bin/env bash
# Makes what a release ships of the last commit twice, and compares the octets: in
# two folders, the second with an empty cache of Go's, and another home, time zone,
# language, umask and module cache's path. For this machine's system and architecture,
# since that is what takes the time; a release does it for all.
set -euo pipefail
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
DIST_ARCHS=$(go env GOARCH)
export DIST_ARCHS DIST_OTHERS=''
modules=$(go env GOMODCACHE) cache=$(go env GOCACHE)
git clone -q . "$tmp/one"
version=$(git -C "$tmp/one" describe --tags --always)
"$tmp/one/hack/dist.sh" "$version" "$tmp/dist-one"

other=$tmp/another/much/deeper/folder
mkdir -p "$tmp/another/home" "${other%/*}"
git clone -q "$tmp/one" "$other" # the same commit, whatever is committed meanwhile
ln -s "$modules" "$tmp/another/modules"
(
  umask 077
  export HOME=$tmp/another/home TZ=Pacific/Chatham LC_ALL=C.UTF-8 TMPDIR=$tmp/another
  export GOMODCACHE=$modules GOCACHE=$cache # of the tools
  export DIST_GOMODCACHE=$tmp/another/modules DIST_GOCACHE=$tmp/another/cache
  "$other/hack/dist.sh" "$version" "$tmp/another/dist"
)

diff "$tmp/dist-one/SHA256SUMS" "$tmp/another/dist/SHA256SUMS" || {
  echo "reproducible: the same commit gave other octets" >&2
  exit 1
}
cat "$tmp/dist-one/SHA256SUMS"
echo "reproducible: twice the same, image $(<"$tmp/dist-one/image.digest")"
