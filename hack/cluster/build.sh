#!/usr/bin/env bash
# Builds the programs of a Kubernetes control plane from the Go module proxy, at
# the versions pinned here, and prints the folder that holds them: what tests
# take as KUBEBUILDER_ASSETS. The first time takes some minutes; what was built
# is kept outside the checkout, by what pins it, and by Go's version.
# Usage: build.sh PROGRAM...   (kube-apiserver etcd kubectl kubelet ...)
set -euo pipefail
cd "$(dirname "$0")"
(($# > 0)) || { echo "usage: build.sh PROGRAM..." >&2; exit 2; }

version=v1.37.2
key=$(cat k8s/go.sum etcd/go.sum <(go env GOVERSION GOARCH) | sha256sum | cut -c1-16)
bin=${XDG_CACHE_HOME:-$HOME/.cache}/printer-relay/cluster/$key/bin
mkdir -p "$bin"
exec 9>"$bin/../lock" # another checkout may be building the same
flock 9

# A server that does not know its version is taken for a very old one.
stamp="-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37 -X k8s.io/client-go/pkg/version.gitVersion=$version"
for program; do
  [[ -x $bin/$program ]] && continue
  echo "building $program" >&2
  if [[ $program == etcd ]]; then
    (cd etcd && go build -trimpath -ldflags '-s -w' -o "$bin/$program.new" go.etcd.io/etcd/server/v3)
  else
    (cd k8s && go build -trimpath -ldflags "$stamp" -o "$bin/$program.new" "k8s.io/kubernetes/cmd/$program")
  fi
  mv "$bin/$program.new" "$bin/$program" # whole or not at all
done
echo "$bin"
