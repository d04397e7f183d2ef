#!/usr/bin/env bash
# Runs the story of the README's tutorial in a cluster of one node: brings one up
# in a folder of its own, and ends it afterwards, whatever happens. With
# CLUSTER_DIR set and a cluster up there (make cluster), that one is used and left.
# Usage: e2e.sh [FLAGS OF GO TEST...]
set -euo pipefail
cd "$(dirname "$0")/.."

hack/cluster/deps.sh
if [[ -z ${CLUSTER_DIR-} ]] || ! hack/cluster/cluster.sh status >/dev/null 2>&1; then
  CLUSTER_DIR=$(mktemp -d /var/tmp/printer-relay-e2e.XXXXXX)
  export CLUSTER_DIR
  trap 'hack/cluster/cluster.sh down' EXIT
  hack/cluster/cluster.sh up
fi
go tool -modfile=hack/tools/deploy/go.mod helm version --short # built here, where modules can be had
for tag in 1 2; do # the same program: what is rolled out is another image
  hack/cluster/cluster.sh image "printer-relay:$tag"
done
go test -tags e2e -count=1 -timeout 40m -v "$@" ./test/e2e
