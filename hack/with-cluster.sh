#!/usr/bin/env bash
# Runs a command with a cluster of one node that has the program's image: brings one
# up in a folder of its own, and ends it afterwards, whatever happens. With
# CLUSTER_DIR set and a cluster up there (make cluster), that one is used and left.
# Usage: with-cluster.sh COMMAND...   (CLUSTER_DIR is set for it)
set -euo pipefail
cd "$(dirname "$0")/.."

hack/cluster/deps.sh
if [[ -z ${CLUSTER_DIR-} ]] || ! hack/cluster/cluster.sh status >/dev/null 2>&1; then
  CLUSTER_DIR=$(mktemp -d /var/tmp/printer-relay-cluster.XXXXXX)
  export CLUSTER_DIR
  trap 'hack/cluster/cluster.sh down' EXIT
  hack/cluster/cluster.sh up
fi
go tool -modfile=hack/tools/deploy/go.mod helm version --short # built here, where modules can be had
for tag in 1 2; do # the same program: what is rolled out is another image
  hack/cluster/cluster.sh image "printer-relay:$tag"
done
"$@"
