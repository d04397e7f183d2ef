#!/usr/bin/env bash
# Pushes the image and the chart that dist.sh made, and beside the chart what Artifact
# Hub wants to know of its owner, to a registry that the caller is logged in to, and prints the digests by which it knows them, as NAME=DIGEST
# lines: image (all architectures), image_ARCH, chart.
# Usage: push.sh DIST IMAGE VERSION   (the chart goes to charts/ beside IMAGE)
#   PUSH_PLAIN_HTTP=yes    the registry has no TLS: tests
set -euo pipefail
(($# == 3)) || { echo "usage: push.sh DIST IMAGE VERSION" >&2; exit 2; }
dist=$(realpath "$1") image=$2 version=$3
cd "$(dirname "$0")/.."
crane=$(go tool -modfile=hack/tools/release/go.mod -n crane)
helm=$(go tool -modfile=hack/tools/deploy/go.mod -n helm)
plain=()
[[ -z ${PUSH_PLAIN_HTTP-} ]] || plain=(--plain-http)

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/layout"
tar -x -C "$tmp/layout" -f "$dist/image.tar"
pushed=$("$crane" push "$tmp/layout" "$image:$version" 2>"$tmp/log") || { cat "$tmp/log" >&2; exit 1; }
digest=$(<"$dist/image.digest")
[[ $pushed == *@"$digest" ]] || { echo "push: the registry has $pushed, and $digest was built" >&2; exit 1; }
echo "image=$digest"
for program in "$dist"/printer-relay_linux_*.cdx.json; do
  arch=$(basename "${program##*_}" .cdx.json)
  echo "image_$arch=$("$crane" digest --platform "linux/$arch" "$image@$digest")"
done

"$helm" push "${plain[@]}" "$dist/printer-relay-"*.tgz "oci://${image%/*}/charts" >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; exit 1; }
chart=$(sed -n 's/^Digest: *//p' "$tmp/log")
[[ $chart == sha256:* ]] || { cat "$tmp/log" >&2; echo "push: helm did not say what it pushed" >&2; exit 1; }
echo "chart=$chart"

# The names and types are Artifact Hub's.
cd charts
go tool -modfile=../hack/tools/oras/go.mod oras push "${plain[@]}" "${image%/*}/charts/printer-relay:artifacthub.io" \
  --config /dev/null:application/vnd.cncf.artifacthub.config.v1+yaml \
  artifacthub-repo.yml:application/vnd.cncf.artifacthub.repository-metadata.layer.v1.yaml >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; exit 1; }
